"""`manage.py halt BTC-USD`: the operator's switch that needs no web page."""

from operators.management.switch import StatusCommand
from orders.models import Instrument


class Command(StatusCommand):
    help = "Halt instruments: they take no orders, but cancels. Needs the database only."
    status = Instrument.Status.HALTED
    verb = "halt"
