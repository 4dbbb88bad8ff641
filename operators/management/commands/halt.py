"""`manage.py halt BTC-USD`: halts instruments without the web."""

from instruments.models import Instrument
from operators.management.switch import StatusCommand


class Command(StatusCommand):
    help = "Halt instruments: they accept cancels, but no new orders. Needs only the database."
    status = Instrument.Status.HALTED
    verb = "halt"
