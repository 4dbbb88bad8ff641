"""Garbage collection for processes that serve for long."""

import gc

from django.conf import settings


def settle_memory() -> None:
    """Call once everything is imported: what is there now lives as long as the process.

    The collector looks at all of it again and again otherwise, which took a sixth of an API process's time.
    Afterwards it runs less often; garbage without cycles is freed at once as ever. A connection that ends is such a
    cycle, and an old one by then: what thousands of them have left goes when a quarter as many new ones have come.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(settings.GC_NEW_OBJECTS_MAX, *settings.GC_LOOKS_MAX)
