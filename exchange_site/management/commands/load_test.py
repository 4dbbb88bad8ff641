"""`manage.py load_test`: an open-loop load test that then looks up every acknowledged order."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from exchange_site.load_target import load_target
from loadtools.arguments import whole_number
from loadtools.connection import ConnectError
from loadtools.durability import OTHER_DATABASE_ADVICE, Acknowledged, check_durability
from loadtools.exchange import StartError
from loadtools.generator import Plan
from loadtools.picture import MatplotlibError, save_picture
from loadtools.progress import progress_bar
from loadtools.run import LoadRun, run_load
from loadtools.wire import TargetError


class Command(BaseCommand):
    """Exits with 1 if there was an error or if an acknowledged order is missing."""

    help = "Send orders at a steady rate, print latencies, check that every acknowledged order is kept."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        amount = whole_number(1, settings.LOAD_TEST_REQUESTS_MAX)
        connections = whole_number(1, settings.LOAD_CONNECTIONS_MAX)
        parser.add_argument(
            "--rps",
            type=amount,
            default=settings.LOAD_TEST_RPS,
            help="orders per second (or the variable TARGET_RPS)",
        )
        parser.add_argument(
            "--duration",
            type=amount,
            default=settings.LOAD_TEST_SECONDS,
            help="seconds (or the variable DURATION)",
        )
        parser.add_argument("--connections", type=connections, default=settings.LOAD_TEST_CONNECTIONS)
        parser.add_argument("--seed", type=int, default=42)
        parser.add_argument("--url", help="a running exchange (default: PORT's, else one of its own)")
        parser.add_argument(
            "--output", type=Path, help="the picture's path (default results/load_test-TIME.png)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        plan = self._make_plan(options["rps"], options["duration"], options["connections"])
        output = (
            options["output"] or Path("results") / f"load_test-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.png"
        )
        try:
            with load_target(options["url"], self.stdout.write) as aim:
                # Check that the database can be read, before permanent orders are placed.
                check_durability(Acknowledged(), aim.postgres_uri)
                self.stdout.write(
                    f"{plan.requests:,} orders in {plan.duration_seconds:g} s to {aim.target.url}"
                )
                with progress_bar("load test", plan.requests) as bar:
                    run = run_load(
                        target=aim.target,
                        plan=plan,
                        seed=options["seed"],
                        servers_processor_seconds=aim.processor_seconds,
                        on_progress=lambda seen: bar.show(seen.settled, f"{seen.errors.total():,} errors"),
                    )
                    bar.finish(run.outcome.settled)
                self.stdout.write("\n".join(run.report()))
                durability = check_durability(run.acknowledged, aim.postgres_uri)
                self.stdout.write("\n".join(durability.report()))
        except (TargetError, ConnectError, StartError) as error:
            raise CommandError(str(error)) from None
        except psycopg.Error as error:
            raise CommandError(f"cannot look the orders up: {error}\n{OTHER_DATABASE_ADVICE}") from None
        except KeyboardInterrupt:
            raise CommandError("interrupted", returncode=130) from None
        self._save_picture(run, output)
        if run.outcome.errors.total() or not durability.holds:
            raise CommandError("the load test failed: see errors and durability above")

    def _make_plan(self, rps: int, duration: int, connections: int) -> Plan:
        if rps * duration > settings.LOAD_TEST_REQUESTS_MAX:
            limit = settings.LOAD_TEST_REQUESTS_MAX
            raise CommandError(
                f"{rps} orders/s for {duration} s are more than {limit}: lower --rps or --duration"
            )
        return Plan.open_loop(rps, duration, connections=connections)

    def _save_picture(self, run: LoadRun, output: Path) -> None:
        if not run.outcome.right:
            return
        try:
            save_picture(run, output)
        except MatplotlibError as error:
            self.stdout.write(f"picture      {error}")
        except (OSError, ValueError) as error:
            raise CommandError(
                f"cannot write the picture {output}: {error}. Choose another --output"
            ) from None
        else:
            self.stdout.write(f"picture      {output}")
