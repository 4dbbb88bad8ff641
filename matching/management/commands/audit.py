"""manage.py audit: checks the exchange's promises in all stored data and in the live books."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from base.database import database_advice
from matching.operations.audit import CHECK_NAMES, CheckResult, run_audit
from orders.models import Order, Trade


class Command(BaseCommand):
    """Never writes. It can run at any time, whether the exchange is running or not."""

    help = "Check the exchange's promises in the database and the live books; exit 1 if one is broken."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--require-live", action="store_true", help="exit 1 also if a live book could not be compared"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.perf_counter()
        try:
            results = audit_with_progress()
            counts = f"{Order.objects.count():,} orders, {Trade.objects.count():,} trades"
        except Error as error:
            raise CommandError(database_advice(error)) from error
        for result in results:
            self.stdout.write(
                f"{result.name:<12} {result.state:<18} {result.seconds:7.2f} s  {result.promise}"
            )
        for result in results:
            self.write_details(result)
        broken = [result.name for result in results if result.breach_count]
        if broken:
            raise CommandError(f"promises are broken: {', '.join(broken)}")
        skipped = [result.name for result in results if result.skipped]
        if skipped and options["require_live"]:
            raise CommandError(f"not everything could be checked: {', '.join(skipped)}")
        summary = f"no breach in {counts}; {time.perf_counter() - started:.1f} s"
        self.stdout.write(summary + (f"; skipped: {', '.join(skipped)}" if skipped else ""))

    def write_details(self, result: CheckResult) -> None:
        if not result.breaches and not result.skipped:
            return
        self.stdout.write(f"\n{result.name}")
        for breach in result.breaches:
            self.stdout.write(f"  {breach}")
        more = result.breach_count - len(result.breaches)
        if more:
            self.stdout.write(f"  and {more:,} more")
        for reason in result.skipped:
            self.stdout.write(f"  skipped: {reason}")


def audit_with_progress() -> list[CheckResult]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: list[CheckResult] = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("audit", total=len(CHECK_NAMES))
        running = run_audit()
        for name in CHECK_NAMES:
            progress.update(task, description=name)
            results.append(next(running))
            progress.advance(task)
    return results
