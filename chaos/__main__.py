"""`python -m chaos --minutes 10 --rate 300 --seed 1`: exits with 1 if a promise was broken."""

import asyncio
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from random import Random

import psutil
import psycopg
from redis.exceptions import RedisError

from chaos.breaches import Kind
from chaos.campaign import Campaign, TradedExchange
from chaos.faults import FAULTS, Fault, fault_sequence
from chaos.parts import PartMissing
from chaos.probe import NotRecovered
from chaos.stage import option_parser, perform

MINUTES_MAX = 24 * 60
REQUESTS_MAX = 5_000_000  # In one run. Each takes half a kilobyte in the journal.
CALM_SECONDS = (0.3, 2.0)  # Range of the pause between a recovery and the next fault.


def main() -> int:
    parser = option_parser(
        prog="chaos", description="Break a real exchange on purpose, and check its promises."
    )
    parser.add_argument("--minutes", type=_minutes, default=10.0, help="of faults (default: 10)")
    parser.add_argument("--only", default="", help="faults with this text in their names (default: all)")
    options = parser.parse_args()
    seconds = options.minutes * 60
    if seconds * options.rate > REQUESTS_MAX:
        parser.error(f"these are more than {REQUESTS_MAX:,} requests: lower --minutes or --rate")

    if not any(options.only in fault.name for fault in FAULTS):
        parser.error(f"--only must be a part of one of: {'; '.join(fault.name for fault in FAULTS)}")

    async def run(campaign: Campaign) -> None:
        async with campaign.trading() as market:
            await break_things(campaign, market, fault_sequence(campaign.seed, options.only), seconds)

    return perform(
        run,
        name="chaos",
        title=f"Chaos: {options.minutes:g} minutes, {options.rate} requests/s, seed {options.seed}",
        length=seconds,
        options=options,
    )


async def break_things(
    campaign: Campaign, market: TradedExchange, faults: Iterator[tuple[Fault, Random]], seconds: float
) -> None:
    """Inject one fault after the other. Ends early if the exchange does not recover from one."""
    started = time.monotonic()
    calm = Random(campaign.seed)
    while True:
        campaign.now = "calm"
        await asyncio.sleep(calm.uniform(*CALM_SECONDS))
        campaign.done = time.monotonic() - started
        if campaign.done >= seconds:
            return
        fault, random = next(faults)
        campaign.now = fault.name
        try:
            async with fault.strike(market.parts, random) as struck_at:
                await market.probe.recovered()
                recovered_in = asyncio.get_running_loop().time() - struck_at
            await market.probe.recovered()
        except (NotRecovered, PartMissing, psutil.Error, psycopg.Error, RedisError) as error:
            campaign.record.breaches.add(Kind.RECOVERY, f"{fault.name}: {type(error).__name__}: {error}")
            return
        campaign.record.recoveries.append((fault.name, recovered_in))


def _minutes(text: str) -> float:
    """Parse a number of minutes above zero, which may be a fraction."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MINUTES_MAX:
        raise ArgumentTypeError(f"{text!r} is not a number above 0 and up to {MINUTES_MAX}")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
