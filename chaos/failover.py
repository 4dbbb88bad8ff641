"""`python -m chaos.failover`: how long a standby worker takes to replace one that is stopped, killed or frozen.

Counted from the signal until an order is acknowledged that was sent after the lease had changed hands, so that the
old worker can't have answered it. Exit status 1 where that took longer than the target, or a promise was broken.
"""

import asyncio
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import NamedTuple

from chaos.campaign import Campaign, Market
from chaos.probe import RECOVERY_SECONDS_MAX, NotRecovered
from chaos.stage import RATE_MAX, RESULTS, SEED_MAX, perform
from loadtools.arguments import whole_number

REPETITIONS_MAX = 100
CALM_SECONDS = 1.0  # between two of them


class Blow(NamedTuple):
    """What is done to the active worker."""

    name: str
    number: signal.Signals
    target_seconds: float


BLOWS = (
    Blow("stopped in order (SIGTERM)", signal.SIGTERM, 1.0),
    Blow("killed (SIGKILL)", signal.SIGKILL, 3.0),
    Blow("frozen (SIGSTOP)", signal.SIGSTOP, 6.0),
)


def main() -> int:
    parser = ArgumentParser(
        prog="chaos.failover", description="Measure how long a standby takes to take over."
    )
    repetitions = whole_number(1, REPETITIONS_MAX)
    parser.add_argument("--repetitions", type=repetitions, default=5, help="of each (default: 5)")
    parser.add_argument(
        "--rate", type=whole_number(1, RATE_MAX), default=300, help="requests/s (default: 300)"
    )
    parser.add_argument("--seed", type=whole_number(0, SEED_MAX), default=1, help="(default: 1)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of reports (default: results)")
    options = parser.parse_args()
    blows = [blow for blow in BLOWS for _ in range(options.repetitions)]

    async def run(campaign: Campaign) -> None:
        async with campaign.trading() as market:
            for blow in blows:
                campaign.now = blow.name
                campaign.record.recoveries.append((blow.name, await fail_over(market, blow)))
                campaign.done += 1

    return perform(
        run,
        name="failover",
        title=f"Failover of the matching worker, {options.rate} requests/s",
        length=len(blows),
        rate=options.rate,
        seed=options.seed,
        results=options.results,
        targets={blow.name: blow.target_seconds for blow in BLOWS},
    )


async def fail_over(market: Market, blow: Blow) -> float:
    """Strike the active worker; the seconds until another has replaced it. Raises NotRecovered, PartMissing."""
    loop = asyncio.get_running_loop()
    await market.parts.standby_waits()
    await asyncio.sleep(CALM_SECONDS)
    worker, epoch = await market.parts.active_worker(), await market.parts.epoch()
    try:
        struck_at = loop.time()
        worker.send_signal(blow.number)
        await market.parts.next_epoch(epoch)
        async with asyncio.timeout(RECOVERY_SECONDS_MAX):
            await market.told.acknowledgement_of_what_is_sent_after(loop.time())
            seconds = loop.time() - struck_at
    except TimeoutError:
        raise NotRecovered(
            f"the standby has acknowledged nothing within {RECOVERY_SECONDS_MAX:.0f} s"
        ) from None
    finally:
        if blow.number is signal.SIGSTOP:
            worker.resume()
    await market.probe.recovered()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
