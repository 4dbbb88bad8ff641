"""Objects that belong to one event loop, and batches of items from one turn of the loop."""

import asyncio
import functools
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Resource = TypeVar("Resource")
Item = TypeVar("Item")


def loop_seconds() -> float:
    """Return the time of the running event loop, in seconds."""
    return asyncio.get_running_loop().time()


def ignore_error(ended: asyncio.Future[Any]) -> None:
    """Retrieve a future's exception, so that asyncio does not log it if nobody waits for it."""
    if not ended.cancelled():
        ended.exception()


def per_event_loop(make: Callable[[], Resource]) -> Callable[[], Resource]:
    """Decorate a factory of connections, queues and other objects that belong to one event loop.

    The first call in an event loop makes the loop's object, and every call returns that object.
    """
    resources: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Resource] = weakref.WeakKeyDictionary()
    # Most processes have only one loop, so the latest one is usually the right one.
    latest: tuple[weakref.ref[asyncio.AbstractEventLoop], Resource] | None = None

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


class TurnBatcher(Generic[Item]):
    """Collects the items of one turn of the event loop.

    In the next turn, it passes them on together. Use it from one event loop at a time.
    """

    def __init__(self, pass_on: Callable[[list[Item]], object]) -> None:
        self._pass_on = pass_on
        self._items: list[Item] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop that will pass the items on

    def add(self, item: Item) -> None:
        """Add an item to the batch. Raises RuntimeError if no event loop is running."""
        loop = asyncio.get_running_loop()
        if not self._items or loop is not self._loop:
            loop.call_soon(self._pass_on_all)
            self._loop = loop
        self._items.append(item)

    def _pass_on_all(self) -> None:
        items, self._items, self._loop = self._items, [], None
        self._pass_on(items)
