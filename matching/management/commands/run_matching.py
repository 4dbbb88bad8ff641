"""manage.py run_matching: the dedicated matching worker of one partition."""

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from matching.worker import MatchingWorker
from orders.models import Instrument
from rest.memory import settle_memory


class Command(BaseCommand):
    help = "Match one partition's orders until SIGTERM or Ctrl-C; a second worker waits as standby."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--partition", type=int, default=0, help="the partition to match (default: 0)")
        which.add_argument("--instruments", help="match the partition of these symbols, separated by commas")

    def handle(self, *args: Any, **options: Any) -> None:
        partition = options["partition"]
        if options["instruments"]:
            partition = partition_of(options["instruments"].split(","))
        uvloop.run(match(partition))


async def match(partition: int) -> None:
    worker = MatchingWorker.connect(partition)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    settle_memory()
    await worker.run()


def partition_of(symbols: list[str]) -> int:
    """The partition that holds exactly these symbols. Raises CommandError."""
    rows = Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "partition")
    unknown = set(symbols) - {symbol for symbol, _ in rows}
    if unknown:
        raise CommandError(f"unknown instruments: {', '.join(sorted(unknown))}")
    partitions = {partition for _, partition in rows}
    if len(partitions) != 1:
        raise CommandError(
            f"{', '.join(symbols)} belong to partitions {sorted(partitions)}: start a worker for each"
        )
    (partition,) = partitions
    others = set(Instrument.objects.filter(partition=partition).values_list("symbol", flat=True)) - set(
        symbols
    )
    if others:
        raise CommandError(
            f"partition {partition} also holds {', '.join(sorted(others))}: name them too, or use --partition"
        )
    return int(partition)
