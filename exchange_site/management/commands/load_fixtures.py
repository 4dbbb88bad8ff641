"""`manage.py load_fixtures`: submits a file of orders through the real order path."""

import asyncio
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from loadtools.arguments import whole_number
from loadtools.connection import ConnectError
from loadtools.fixtures import FixtureError, count_orders, read_fixture
from loadtools.progress import progress_bar
from loadtools.submission import Submission, SubmissionLimits, submit
from loadtools.wire import TargetError, loopback_target


class Command(BaseCommand):
    """Checks the whole file before it sends anything."""

    help = "Send a file of orders to the running exchange. Sending it again creates no order twice."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        connections = whole_number(1, settings.LOAD_CONNECTIONS_MAX)
        url = f"http://127.0.0.1:{settings.ENVIRONMENT.port}"
        parser.add_argument("file", type=Path)
        parser.add_argument("--url", default=url, help=f"a running exchange (default: PORT's, {url})")
        parser.add_argument("--connections", type=connections, default=settings.FIXTURE_CONNECTIONS)

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        limits = SubmissionLimits(connections=options["connections"])
        try:
            target = loopback_target(options["url"])
            orders = count_orders(path)
            with progress_bar("sending orders", orders) as bar:
                submission = asyncio.run(
                    submit(target, read_fixture(path), limits, lambda so_far: bar.show(so_far.settled))
                )
                bar.finish(submission.settled)
        except FixtureError as error:
            raise CommandError(f"{error}. Nothing was sent: correct the line and run this again") from None
        except OSError as error:
            problem = (
                str(error) if isinstance(error, ConnectError) else f"cannot read {path}: {error.strerror}"
            )
            raise CommandError(problem) from None
        except TargetError as error:
            raise CommandError(f"--url {error}") from None
        self._report(submission)

    def _report(self, submission: Submission) -> None:
        self.stdout.write(
            f"{submission.created:,} orders created, {submission.replayed:,} were there already,"
            f" {submission.failed:,} failed; {submission.retries:,} requests were tried again"
        )
        for status, count in sorted(submission.statuses.items()):
            self.stdout.write(f"  {status or 'no answer'}: {count:,}")
        if submission.failed:
            raise CommandError(
                f"{submission.failed:,} orders were not taken, the first with: {submission.first_failure}\n"
                "Fix the cause (for 429: start the exchange with EXCHANGE_RATE_LIMIT=off) and run this again:"
                " existing orders are not created twice"
            )
