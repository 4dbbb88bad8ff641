"""manage.py recover: shows the books in the database, and compares them with the live worker's."""

import asyncio
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from base.database import database_advice
from base.refusals import OutcomeUnknown, Unavailable
from instruments.models import Instrument
from matching.batch.market_book import MarketBook
from matching.operations.inspection import BookReport, compare_with_worker, report
from matching.recovery import count_live_orders, load_books


class Command(BaseCommand):
    """Never writes. It can run at any time, whether the exchange is running or not."""

    help = "Rebuild the order books from the database and show a summary of each."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--partition", type=int, help="one partition (default: all with instruments)")
        parser.add_argument(
            "--check", action="store_true", help="compare with the live worker; exit 1 if they differ"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for partition in partitions(options["partition"]):
                self.recover(partition)
                if options["check"]:
                    self.compare(partition)
        except DatabaseError as error:
            raise CommandError(database_advice(error)) from error
        except ValueError as error:
            raise CommandError(
                f"the live orders in the database are not a valid book: {error}. Keep trading halted and look "
                "that order up; a worker can't load this book either"
            ) from error

    def recover(self, partition: int) -> None:
        started = time.perf_counter()
        books = load_with_progress(partition)
        seconds = time.perf_counter() - started
        for symbol in sorted(books):
            self.show(report(books[symbol]))
        orders = sum(len(market.book) + market.book.waiting_count for market in books.values())
        self.stdout.write(f"partition {partition}: {orders:,} orders in {len(books)} books, {seconds:.3f} s")

    def show(self, book: BookReport) -> None:
        self.stdout.write(book.symbol)
        self.stdout.write(f"  orders      {book.bids:,} bids, {book.asks:,} asks")
        above, below, triggered = book.waiting
        self.stdout.write(
            f"  waiting     {above:,} for higher prices, {below:,} for lower prices, {triggered:,} triggered"
        )
        self.stdout.write(f"  best bid    {book.best_bid or '-'}")
        self.stdout.write(f"  best ask    {book.best_ask or '-'}")
        self.stdout.write(f"  sequence    {book.sequence}")
        self.stdout.write(f"  state hash  {book.state_hash}")

    def compare(self, partition: int) -> None:
        try:
            comparison = asyncio.run(compare_with_worker(partition))
        except (Unavailable, OutcomeUnknown) as error:
            raise CommandError(
                f"partition {partition} could not be compared: {error.message} Start the exchange, or "
                f"its worker alone with run_matching --partition {partition}, or leave out --check"
            ) from None
        if differences := [*comparison.different, *comparison.undecided]:
            raise CommandError(
                f"the database and the worker of partition {partition} differ:\n  "
                + "\n  ".join(differences)
                + "\nWhere trading went on, try again when it is calmer. Otherwise restart the worker: it loads "
                "its books from the database"
            )
        self.stdout.write(f"partition {partition}: the live worker has the same books")


def partitions(chosen: int | None) -> list[int]:
    """Return the partitions with instruments, or only the chosen one. Raises CommandError."""
    known = sorted(set(Instrument.objects.values_list("partition", flat=True)))
    if chosen is not None and chosen not in known:
        raise CommandError(f"partition {chosen} has no instruments; partitions with instruments: {known}")
    if not known:
        raise CommandError("there are no instruments: start the exchange once, or create some in the admin")
    return known if chosen is None else [chosen]


def load_with_progress(partition: int) -> dict[str, MarketBook]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"partition {partition}", total=count_live_orders(partition))
        return load_books(partition, progress=lambda orders: progress.advance(task, orders))
