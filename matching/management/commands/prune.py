"""manage.py prune: deletes old finished orders, their trades and events from the database."""

import gzip
import os
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from base.database import database_advice
from base.times import parse_time, time_text
from matching.operations.pruning import Archive, Page, find_prunable, prune

AGE = timedelta(hours=settings.PRUNE_AGE_HOURS_MIN)
DAYS_MAX = 36_500


class Command(BaseCommand):
    """It can run beside a running exchange. After an interruption, run it again."""

    help = "Delete orders that finished before a time, and trades and events that have no order left."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        when = parser.add_mutually_exclusive_group(required=True)
        when.add_argument("--before", metavar="TIME", help="in RFC 3339, for example 2026-01-31, in UTC")
        when.add_argument("--keep-days", metavar="N", help="the same as --before N days ago")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")
        parser.add_argument(
            "--archive",
            type=Path,
            metavar="FILE",
            help="first write the deleted rows to this new file, as gzipped JSON lines",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before = read_time(options["before"], options["keep_days"])
        if options["archive"] is not None and options["archive"].exists():
            raise CommandError(f"{options['archive']} exists already: choose a new file for --archive")
        try:
            if options["dry_run"]:
                counts = with_progress(find_prunable(before))
            elif options["archive"] is None:
                counts = with_progress(prune(before))
            else:
                with archive_file(options["archive"]) as archive:
                    counts = with_progress(prune(before, archive=archive))
        except Error as error:
            raise CommandError(database_advice(error)) from error
        except OSError as error:
            raise CommandError(
                f"{options['archive']} can't be written: {error.strerror}. All deleted rows are in it; the rows "
                "of its last page may still be in the database. Choose another --archive and run this again"
            ) from error
        done = "would be deleted" if options["dry_run"] else "deleted"
        self.stdout.write(
            f"before {time_text(before)}: {counts['orders']:,} orders, {counts['trades']:,} trades "
            f"and {counts['events']:,} events {done}"
        )


def read_time(before: str | None, keep_days: str | None) -> datetime:
    """Return the time that `--before` or `--keep-days` gives. Raises CommandError."""
    now = datetime.now(UTC)
    if before is not None:
        try:
            moment = parse_time(before)
        except ValueError as error:
            raise CommandError(f"--before {before}: {error} A date is enough: 2026-01-31") from None
    elif keep_days is not None and keep_days.isdecimal() and int(keep_days) <= DAYS_MAX:
        moment = now - timedelta(days=int(keep_days))
    else:
        raise CommandError(f"--keep-days: a whole number of days up to {DAYS_MAX} is required")
    if moment > now - AGE:
        raise CommandError(
            f"{time_text(moment)} is less than {settings.PRUNE_AGE_HOURS_MIN:g} hours ago: such recent orders "
            "stay, because clients may still send them again with their idempotency keys"
        )
    return moment


@contextmanager
def archive_file(path: Path) -> Iterator[Archive]:
    """Yield a function that appends a page to the archive. Raises OSError.

    Each page is a whole gzip member that is on the disk before the page is deleted. The file must
    be new: in an old file that a crash had truncated, later pages could not be read.
    """
    with path.open("xb") as file:
        file.write(gzip.compress(b""))  # makes a valid file even if there are no pages

        def append(rows: Sequence[str]) -> None:
            file.write(gzip.compress("".join(f"{row}\n" for row in rows).encode()))
            file.flush()
            os.fsync(file.fileno())

        yield append


def with_progress(pages: Iterator[Page]) -> Counter[str]:
    """Run through the pages with a progress bar; returns the number of pruned rows by table."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    counts: Counter[str] = Counter()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = {table: progress.add_task(table, total=0) for table in ("orders", "trades", "events")}
        totals: Counter[str] = Counter()
        for page in pages:
            totals[page.table] += page.total
            progress.update(tasks[page.table], total=totals[page.table], advance=page.rows)
            counts[page.table] += page.pruned
    return counts
