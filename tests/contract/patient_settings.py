"""The exchange's settings, with time limits that a slow machine meets, too.

Used with DJANGO_SETTINGS_MODULE=tests.contract.patient_settings. tests/system has the tests of
what the exchange answers when a time limit ends.
"""

from exchange_site.settings import *  # noqa: F403
from tests.patience import PATIENCE_SECONDS, TIME_LIMITS

globals().update(dict.fromkeys(TIME_LIMITS, PATIENCE_SECONDS))
HEALTHY_WITHIN_SECONDS = round(PATIENCE_SECONDS)
