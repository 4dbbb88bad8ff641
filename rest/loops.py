"""Objects that belong to an event loop: connections and queues that must not be shared between loops."""

import asyncio
import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

Resource = TypeVar("Resource")


def per_event_loop(make: Callable[[], Resource]) -> Callable[[], Resource]:
    """Decorates a factory: called on a running loop it gives that loop's object, made at the first call."""
    resources: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Resource] = weakref.WeakKeyDictionary()
    latest: tuple[weakref.ref[asyncio.AbstractEventLoop], Resource] | None = None  # a server has one loop

    @functools.wraps(make)
    def get() -> Resource:
        nonlocal latest
        loop = asyncio.get_running_loop()
        if latest is not None and latest[0]() is loop:
            return latest[1]
        resource = resources.get(loop)
        if resource is None:
            resource = resources[loop] = make()
        latest = weakref.ref(loop), resource
        return resource

    return get
