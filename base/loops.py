"""What belongs to an event loop: connections and queues that must not be shared, and what one turn of it brings."""

import asyncio
import functools
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

Resource = TypeVar("Resource")
Item = TypeVar("Item")


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


class Gathered(Generic[Item]):
    """Hands on together what comes in one turn of the event loop, once that has come round.

    For one loop at a time.
    """

    def __init__(self, hand_on: Callable[[list[Item]], object]) -> None:
        self._hand_on = hand_on
        self._items: list[Item] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will come round

    def add(self, item: Item) -> None:
        """Raises RuntimeError where no event loop is running."""
        loop = asyncio.get_running_loop()
        if not self._items or loop is not self._loop:
            loop.call_soon(self._hand_on_all)
            self._loop = loop
        self._items.append(item)

    def _hand_on_all(self) -> None:
        items, self._items, self._loop = self._items, [], None
        self._hand_on(items)
