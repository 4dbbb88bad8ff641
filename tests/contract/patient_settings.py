"""The exchange's settings, with time limits that a slow machine meets, too.

Used with DJANGO_SETTINGS_MODULE=tests.contract.patient_settings. tests/system has the tests of what the
exchange answers when a time limit ends.
"""

from exchange_site.settings import *  # noqa: F403
from tests.patience import PATIENCE_SECONDS

DESK_READ_SECONDS_MAX = PATIENCE_SECONDS
HEALTH_CHECK_TIMEOUT_SECONDS = PATIENCE_SECONDS
HEALTHY_WITHIN_SECONDS = round(PATIENCE_SECONDS)
ORDER_REPLY_TIMEOUT_SECONDS = PATIENCE_SECONDS
STREAM_BOOK_SECONDS_MAX = PATIENCE_SECONDS
WORKER_HEARTBEAT_EXPIRY_SECONDS = PATIENCE_SECONDS
