"""manage.py audit: whether the exchange keeps its promises, in all that is stored and in the live books."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from base.database import database_advice
from marketdata.models import Trade
from matching.audit import CHECK_NAMES, Outcome, run_audit
from orders.models import Order


class Command(BaseCommand):
    """Reads only: it can run at any time, beside a running exchange and without one."""

    help = "Check the exchange's promises in the database and the live books; exit 1 where one is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--require-live", action="store_true", help="exit 1 also where a live book could not be compared"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.perf_counter()
        try:
            outcomes = audit_with_progress()
            counts = f"{Order.objects.count():,} orders, {Trade.objects.count():,} trades"
        except Error as error:
            raise CommandError(database_advice(error)) from error
        for outcome in outcomes:
            self.stdout.write(
                f"{outcome.name:<12} {outcome.state:<18} {outcome.seconds:7.2f} s  {outcome.promise}"
            )
        for outcome in outcomes:
            self.tell(outcome)
        broken = [outcome.name for outcome in outcomes if outcome.breach_count]
        if broken:
            raise CommandError(f"promises are broken: {', '.join(broken)}")
        skipped = [outcome.name for outcome in outcomes if outcome.skipped]
        if skipped and options["require_live"]:
            raise CommandError(f"not everything could be checked: {', '.join(skipped)}")
        summary = f"no breach in {counts}; {time.perf_counter() - started:.1f} s"
        self.stdout.write(summary + (f"; skipped: {', '.join(skipped)}" if skipped else ""))

    def tell(self, outcome: Outcome) -> None:
        if not outcome.breaches and not outcome.skipped:
            return
        self.stdout.write(f"\n{outcome.name}")
        for breach in outcome.breaches:
            self.stdout.write(f"  {breach}")
        more = outcome.breach_count - len(outcome.breaches)
        if more:
            self.stdout.write(f"  and {more:,} more")
        for reason in outcome.skipped:
            self.stdout.write(f"  skipped: {reason}")


def audit_with_progress() -> list[Outcome]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes: list[Outcome] = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("audit", total=len(CHECK_NAMES))
        running = run_audit()
        for name in CHECK_NAMES:
            progress.update(task, description=name)
            outcomes.append(next(running))
            progress.advance(task)
    return outcomes
