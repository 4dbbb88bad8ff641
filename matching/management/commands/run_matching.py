"""manage.py run_matching: runs the matching worker of one partition."""

import asyncio
import logging
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader

from base.database import database_advice
from base.memory import settle_memory
from base.metrics_files import share_counts
from base.process_metrics import watch_this_process
from instruments.models import PARTITION_MAX, Instrument
from matching.worker.worker import MatchingWorker

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Match one partition's orders until SIGTERM or Ctrl-C; a second worker waits as standby."
    requires_system_checks = []  # The checks import the whole site, which is slow.

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--partition", type=partition_number, default=0, help="the partition to match (default: 0)"
        )
        which.add_argument(
            "--instruments",
            nargs="+",
            help="match the partition of these symbols, separated by commas or spaces",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        partition = options["partition"]
        try:
            if options["instruments"]:
                partition = partition_of(",".join(options["instruments"]).strip(",").split(","))
            uvloop.run(match(partition))
        except ProgrammingError as error:  # a table or column is missing or not accessible
            # For data of an earlier version, this raises an error that manage.py reports.
            MigrationLoader(connection).check_consistent_history(connection)
            raise CommandError(database_advice(error)) from error


def partition_number(text: str) -> int:
    """Parse a partition's number. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > PARTITION_MAX:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 to {PARTITION_MAX}")
    return int(text)


async def match(partition: int) -> None:
    worker = MatchingWorker.connect(partition)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    share_counts()
    watch_this_process(f"worker {partition}")
    settle_memory()
    await worker.run()


def partition_of(symbols: Sequence[str]) -> int:
    """Return the partition of these symbols. Raises CommandError if they have several."""
    partitions = dict(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "partition"))
    unknown = sorted(set(symbols) - partitions.keys())
    if unknown:
        raise CommandError(f"unknown instruments: {', '.join(unknown)}")
    if len(set(partitions.values())) != 1:
        raise CommandError(
            f"{', '.join(symbols)} belong to partitions {sorted(set(partitions.values()))}: start a worker for each"
        )
    partition: int = partitions[symbols[0]]
    rest = Instrument.objects.filter(partition=partition).exclude(symbol__in=symbols)
    others = ", ".join(rest.values_list("symbol", flat=True))
    if others:
        logger.info("partition %d also holds %s: a worker matches a whole partition", partition, others)
    return partition
