"""Surrounds a run with an exchange on loopback, a progress bar and a report.

If a promise was broken, it keeps the logs and the journal as evidence.
"""

import asyncio
import shutil
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from chaos.campaign import Campaign
from chaos.parts import MANAGE_PY
from chaos.report import Report
from chaos.streams import SUBSCRIBERS, SUBSCRIBERS_MAX
from hosting.embedded.locations import Locations
from hosting.embedded.privileges import child_setup
from loadtools.arguments import whole_number
from loadtools.exchange import StartError, own_exchange
from loadtools.progress import Bar, progress_bar
from loadtools.tasks import run_beside

_VARIABLES = {
    "EXCHANGE_API_PROCESSES": "2",
    "EXCHANGE_BIND": "127.0.0.1",
    "EXCHANGE_LOG_LEVEL": "INFO",  # The log shows which worker is active.
}
RESULTS = Path("results")
_SHOW_SECONDS = 0.5
INTERRUPTED = 130  # The exit status after Ctrl-C.

_RATE_MAX = 2_000  # Requests per second.
_SEED_MAX = 2**32

Run = Callable[[Campaign], Coroutine[None, None, None]]


def option_parser(*, prog: str, description: str) -> ArgumentParser:
    """Return a parser of the options that all runs have."""
    parser = ArgumentParser(prog=prog, description=description)
    parser.add_argument(
        "--rate", type=whole_number(1, _RATE_MAX), default=300, help="requests/s (default: 300)"
    )
    parser.add_argument("--seed", type=whole_number(0, _SEED_MAX), default=1, help="(default: 1)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of reports (default: results)")
    parser.add_argument(
        "--subscribers",
        type=whole_number(1, SUBSCRIBERS_MAX),
        default=SUBSCRIBERS,
        help=f"stream clients that keep their own books (default: {SUBSCRIBERS})",
    )
    return parser


def perform(
    run: Run,
    *,
    name: str,
    title: str,
    length: float,
    options: Namespace,
    targets: dict[str, float] | None = None,
) -> int:
    """Start an exchange, run against it, print and save the report. Return the exit status.

    `length` is the final value of `Campaign.done`. `options` are those of `option_parser`.
    `targets` has the longest allowed recovery of each fault in seconds. The report is a folder in
    `--results`. If a promise was broken, the folder also has the exchange's logs and the journal.
    """
    folder = options.results / f"{name}-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    prepare_child = child_setup(account=None, death_signal=signal.SIGTERM)
    try:
        with own_exchange(MANAGE_PY, prepare_child, _VARIABLES) as exchange:
            campaign = Campaign(
                exchange, rate=options.rate, seed=options.seed, subscribers=options.subscribers
            )
            try:
                with progress_bar(name, round(length)) as bar:
                    asyncio.run(_run_and_show(run, campaign, bar))
                    bar.finish(round(length))
            except Exception:
                sys.stderr.write(f"{name}: the logs of the exchange: {_keep_evidence(campaign, folder)}\n")
                raise
            report = Report(title, campaign.record, targets)
            report.print(Console())
            report.save(folder)
            if not report.is_good:
                _keep_evidence(campaign, folder)
            sys.stdout.write(f"saved in {folder}\n")
    except StartError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return INTERRUPTED
    return 0 if report.is_good else 1


async def _run_and_show(run: Run, campaign: Campaign, bar: Bar) -> None:
    async def show_forever() -> None:
        while True:
            bar.show(round(campaign.done), campaign.now)
            await asyncio.sleep(_SHOW_SECONDS)

    async with run_beside(show_forever()):
        await run(campaign)


def _keep_evidence(campaign: Campaign, folder: Path) -> Path:
    """Copy the logs and the journal to the report's folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    data_dir = campaign.exchange.data_dir
    for path in (
        campaign.exchange.log,
        campaign.journal_path,
        Locations(data_dir).valkey_data / "valkey.log",
    ):
        if path.exists():
            shutil.copyfile(path, folder / path.name)
    return folder
