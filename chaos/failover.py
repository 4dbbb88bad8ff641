"""`python -m chaos.failover`: measures how long a standby worker needs to replace the active one.

The active worker is stopped, killed or frozen. The time runs from the signal until an order is
acknowledged. This order is sent after the lease has changed its owner, so the old worker can't have
answered it. Exits with 1 if the time exceeds its target or if a promise was broken.
"""

import asyncio
import signal
import sys
from typing import NamedTuple

from chaos.campaign import Campaign, TradedExchange
from chaos.probe import RECOVERY_SECONDS_MAX, NotRecovered
from chaos.stage import option_parser, perform
from loadtools.arguments import whole_number

REPETITIONS_MAX = 100
CALM_SECONDS = 1.0  # Pause before each failover.


class WorkerFault(NamedTuple):
    """A signal to the active worker, and the longest allowed time of the failover."""

    name: str
    number: signal.Signals
    target_seconds: float


WORKER_FAULTS = (
    WorkerFault("stopped in order (SIGTERM)", signal.SIGTERM, 1.0),
    WorkerFault("killed (SIGKILL)", signal.SIGKILL, 3.0),
    WorkerFault("frozen (SIGSTOP)", signal.SIGSTOP, 6.0),
)


def main() -> int:
    parser = option_parser(
        prog="chaos.failover", description="Measure how long a standby takes to take over."
    )
    repetitions = whole_number(1, REPETITIONS_MAX)
    parser.add_argument("--repetitions", type=repetitions, default=5, help="of each (default: 5)")
    options = parser.parse_args()
    faults = [fault for fault in WORKER_FAULTS for _ in range(options.repetitions)]

    async def run(campaign: Campaign) -> None:
        async with campaign.trading() as market:
            for fault in faults:
                campaign.now = fault.name
                campaign.record.recoveries.append((fault.name, await fail_over(market, fault)))
                campaign.done += 1

    return perform(
        run,
        name="failover",
        title=f"Failover of the matching worker, {options.rate} requests/s",
        length=len(faults),
        options=options,
        targets={fault.name: fault.target_seconds for fault in WORKER_FAULTS},
    )


async def fail_over(market: TradedExchange, fault: WorkerFault) -> float:
    """Signal the active worker. Return the seconds until another one has replaced it.

    Raises NotRecovered, PartMissing.
    """
    loop = asyncio.get_running_loop()
    await market.parts.standby_waits()
    await asyncio.sleep(CALM_SECONDS)
    worker, epoch = await market.parts.active_worker(), await market.parts.epoch()
    try:
        struck_at = loop.time()
        worker.send_signal(fault.number)
        await market.parts.next_epoch(epoch)
        async with asyncio.timeout(RECOVERY_SECONDS_MAX):
            await market.client_log.wait_for_acknowledgement(loop.time())
            seconds = loop.time() - struck_at
    except TimeoutError:
        raise NotRecovered(
            f"the standby has acknowledged nothing within {RECOVERY_SECONDS_MAX:.0f} s"
        ) from None
    finally:
        if fault.number is signal.SIGSTOP:
            worker.resume()
    await market.probe.recovered()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
