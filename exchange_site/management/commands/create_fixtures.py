"""`manage.py create_fixtures`: N reproducible orders as JSON lines."""

import contextlib
import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from exchange_site.environment import Environment
from loadtools.arguments import whole_number
from loadtools.fixtures import fixture_lines
from loadtools.mix import DEFAULT_MARKET, MarketError, parse_market
from loadtools.progress import progress_bar


class Command(BaseCommand):
    """Writes to a temporary file and renames it, so an existing output file is always complete."""

    help = "Write N reproducible orders as JSON lines: the same options give the same bytes."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        orders = whole_number(1, settings.FIXTURE_ORDERS_MAX)
        parser.add_argument("--orders", type=orders, default=100_000, help="(default %(default)s)")
        parser.add_argument("--seed", type=int, default=42, help="(default %(default)s)")
        parser.add_argument("--output", type=Path, help="a file (default: the orders go to stdout)")
        parser.add_argument(
            "--instrument",
            action="append",
            metavar="SYMBOL:PRICE",
            help=f"may be repeated; write the price with the tick's decimals (default {DEFAULT_MARKET})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        orders: int = options["orders"]
        output: Path | None = options["output"]
        try:
            markets = [parse_market(text) for text in options["instrument"] or [DEFAULT_MARKET]]
        except MarketError as error:
            raise CommandError(f"--instrument {error}") from None
        lines = fixture_lines(orders=orders, seed=options["seed"], markets=markets)
        if output is None:
            with contextlib.suppress(BrokenPipeError):  # The reader has stopped reading.
                _write(lines, orders, sys.stdout.buffer)
            return
        unfinished = output.with_name(f"{output.name}.part")
        try:
            with unfinished.open("wb") as file:
                _write(lines, orders, file)
            os.replace(unfinished, output)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise CommandError(f"cannot write {output}: {error.strerror}. Choose another --output") from None
        self.stdout.write(f"{orders:,} orders in {output}. Send them with: {_load_command(output)}")


def _write(lines: Iterable[bytes], orders: int, file: BinaryIO) -> None:
    with progress_bar("writing orders", orders) as bar:
        for number, line in enumerate(lines, 1):
            file.write(line)
            if number % 1_000 == 0:
                bar.show(number)
        file.flush()
        bar.finish(orders)


def _load_command(output: Path) -> str:
    """Return the shell command that sends the file to the exchange on PORT."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    command = shlex.join([str(python), sys.argv[0], "load_fixtures", str(output)])
    port = settings.ENVIRONMENT.port
    return command if port == Environment().port else f"PORT={port} {command}"
