"""`manage.py move_instrument ETH-USD --partition 1`: moves an instrument to another partition."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from base.database import database_advice
from instruments.models import PARTITION_MAX, Instrument
from operators.audit import command_line_actor
from operators.instruments import InstrumentError, failure_text
from operators.moving import Move, MoveError


class Command(BaseCommand):
    help = "Move a halted instrument with its book to another partition, after its last commands."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("symbol", metavar="SYMBOL")
        parser.add_argument("--partition", type=int, required=True, help=f"from 0 to {PARTITION_MAX}")
        parser.add_argument("--halt", action="store_true", help="halt it first if it is not halted")
        parser.add_argument("--resume", action="store_true", help="let it take orders again after the move")
        parser.add_argument(
            "--without-workers",
            action="store_true",
            help="move it even if no worker matches the old or the new partition now",
        )
        parser.add_argument("--note", default="", help="why; kept in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        symbol, partition = options["symbol"], options["partition"]
        if not 0 <= partition <= PARTITION_MAX:
            raise CommandError(f"--partition={partition} is not a whole number from 0 to {PARTITION_MAX}")
        try:
            instrument = Instrument.objects.filter(symbol=symbol).first()
            if instrument is None:
                raise CommandError(f"unknown: {symbol}. GET /instruments lists the instruments")
            move = Move(
                instrument,
                partition,
                actor=command_line_actor(),
                note=options["note"],
                without_workers=options["without_workers"],
                report=self.stdout.write,
            )
            move.run(halt=options["halt"], resume=options["resume"])
        except InstrumentError as error:
            raise CommandError(failure_text(error)) from None
        except MoveError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(database_advice(error)) from None
