"""`manage.py resume BTC-USD`: lets halted instruments take orders again."""

from operators.management.switch import StatusCommand
from orders.models import Instrument


class Command(StatusCommand):
    help = "Let halted instruments take orders again."
    status = Instrument.Status.ACTIVE
    verb = "resume"
