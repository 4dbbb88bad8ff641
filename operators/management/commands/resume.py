"""`manage.py resume BTC-USD`: lets halted instruments take orders again."""

from instruments.models import Instrument
from operators.management.switch import StatusCommand


class Command(StatusCommand):
    help = "Let halted instruments take orders again."
    status = Instrument.Status.ACTIVE
    verb = "resume"
