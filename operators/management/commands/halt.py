"""`manage.py halt BTC-USD`: halts instruments without the web."""

from operators.management.switch import StatusCommand
from orders.models import Instrument


class Command(StatusCommand):
    help = "Halt instruments: they accept cancels, but no new orders. Needs only the database."
    status = Instrument.Status.HALTED
    verb = "halt"
