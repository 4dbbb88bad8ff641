"""The common base of the commands `halt` and `resume`."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from base.database import database_advice
from instruments.models import Instrument
from operators.announcements import announce
from operators.audit import command_line_actor
from operators.instruments import InstrumentError, failure_text, set_status


class StatusCommand(BaseCommand):
    """Exits with 0 if all instruments have the status, even if their workers do not confirm it."""

    status: Instrument.Status
    verb: str
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="for example BTC-USD")
        parser.add_argument("--all", action="store_true", help="every instrument")
        parser.add_argument("--note", default="", help="why; kept in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        symbols = [part for text in options["symbols"] for part in text.split(",") if part]
        if bool(symbols) == options["all"]:
            raise CommandError(
                f"name the instruments to {self.verb}, or use --all: manage.py {self.verb} BTC-USD"
            )
        try:
            if options["all"]:
                symbols = list(Instrument.objects.values_list("symbol", flat=True))
            if not symbols:
                raise CommandError("there are no instruments: create some with manage.py load_instruments")
            result = set_status(symbols, self.status, command_line_actor(), note=options["note"])
        except InstrumentError as error:
            raise CommandError(failure_text(error)) from None
        except DatabaseError as error:
            raise CommandError(database_advice(error)) from None
        label = self.status.label.lower()
        for instrument in result.unchanged:
            self.stdout.write(f"{instrument.symbol}: {label} already")
        for instrument in result.changed:
            self.stdout.write(f"{instrument.symbol}: {label}")
        # Announce unchanged ones, too: an earlier call may not have reached the worker.
        for sentence in announce(row.partition for row in [*result.changed, *result.unchanged]):
            self.stderr.write(sentence)
