"""`manage.py make_history`: a made past of candles for instruments that were never traded."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from base.database import database_advice
from base.numbers import parse_decimal
from instruments.models import Instrument
from loadtools.arguments import whole_number
from loadtools.progress import progress_bar
from operators.instruments import InstrumentError
from operators.made_history import MadePast, make_history, refuse_used

MINUTES_PER_HOUR = 60


class Command(BaseCommand):
    """For laboratories and demonstrations. It runs beside a running exchange."""

    help = "Give instruments that were never traded a made past: candles of a random walk, until now."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        hours = whole_number(1, settings.HISTORY_HOURS_MAX)
        parser.add_argument("--hours", type=hours, default=24, help="(default %(default)s)")
        parser.add_argument("--seed", type=int, default=42, help="(default %(default)s)")
        parser.add_argument(
            "--instruments",
            nargs="+",
            default=settings.HISTORY_INSTRUMENTS,
            metavar="SYMBOL:PRICE",
            help="the price is the past's last one (default: " + " ".join(settings.HISTORY_INSTRUMENTS) + ")",
        )
        parser.add_argument(
            "--skip-used",
            action="store_true",
            help="leave out instruments that have history, rather than refuse them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        minutes = options["hours"] * MINUTES_PER_HOUR
        try:
            wanted = self._without_used(find_wanted(options["instruments"]), skip=options["skip_used"])
            with progress_bar("making minutes", minutes * len(wanted)) as bar:
                made = 0
                for count in make_history(wanted, minutes=minutes, seed=options["seed"]):
                    made += count
                    bar.show(made)
                bar.finish(made)
        except InstrumentError as error:
            raise CommandError(str(error)) from None
        except Error as error:
            raise CommandError(database_advice(error)) from error
        for instrument, price in wanted:
            self.stdout.write(f"{instrument.symbol}: {minutes:,} made minutes, the last at {price:f}")

    def _without_used(self, wanted: list[MadePast], *, skip: bool) -> list[MadePast]:
        """Return the instruments without history. Raises InstrumentError for others, unless skipped."""
        unused = []
        for one in wanted:
            try:
                refuse_used(one.instrument)
                unused.append(one)
            except InstrumentError:
                if not skip:
                    raise
                self.stdout.write(f"{one.instrument.symbol}: left as it is, because it has history")
        return unused


def find_wanted(texts: list[str]) -> list[MadePast]:
    """Return the instruments and prices in texts such as BTC-USD:70000. Raises CommandError."""
    wanted: dict[str, MadePast] = {}
    for text in texts:
        symbol, _, price_text = text.partition(":")
        try:
            price = parse_decimal(price_text)
        except ValueError:
            raise CommandError(f"--instruments {text}: a price is required, as in BTC-USD:70000") from None
        instrument = Instrument.objects.filter(symbol=symbol).first()
        if instrument is None:
            raise CommandError(f"--instruments {text}: unknown. GET /instruments lists the instruments")
        if symbol in wanted:
            raise CommandError(f"--instruments {text}: {symbol} is named twice")
        wanted[symbol] = MadePast(instrument, price)
    return list(wanted.values())
