"""The exchange's settings, with limits so low that a test can reach them.

Used with DJANGO_SETTINGS_MODULE=tests.system.tight_settings.
"""

from exchange_site.settings import *  # noqa: F403
from tests.patience import PATIENCE_SECONDS

STREAM_UNREAD_BYTES_MAX = 8 * 1024 * 1024
STREAM_SUBSCRIPTIONS_OF_ALL_MAX = 12
# On a slow machine, too, clients that do not read are closed because of the bytes, not of the time.
STREAM_STALLED_SECONDS_MAX = PATIENCE_SECONDS
