"""What is due at a certain time: orders that expire, and clients' dead man's switches.

The worker gives each batch one time, in Unix milliseconds, and everything that is due at that time
happens before the batch's first command. Nothing here reads a clock.

Cost: O(log n) for each change, amortised. Entries that no longer count stay in the heaps until their
time has come, or until they are the larger part of a heap.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeVar

STALE_ENTRIES_SPARE = 1_000
"""A heap has at most this many more stale entries than valid ones."""


class Expiry(NamedTuple):
    """An order that expires. Orders with the same time expire in the order of their entry."""

    due_ms: int
    sequence: int
    symbol: str
    order_id: str


class Switch(NamedTuple):
    """A dead man's switch that cancels the orders of a client."""

    due_ms: int
    client_id: str


_Entry = TypeVar("_Entry", Expiry, Switch)


class Deadlines:
    """The expiries and switches of one partition, and how to take changes back.

    A change is taken back by the function that is returned.
    """

    def __init__(self) -> None:
        self._expiries: dict[str, Expiry] = {}  # by order id
        self._expiry_heap: list[Expiry] = []
        self._switches: dict[str, Switch] = {}  # by client id
        self._switch_heap: list[Switch] = []

    @property
    def next_ms(self) -> int | None:
        """The time of the next entry, which may be stale, or None."""
        return min((heap[0].due_ms for heap in (self._expiry_heap, self._switch_heap) if heap), default=None)

    def expiry_of(self, order_id: str) -> Expiry | None:
        """Return the time at which an order expires."""
        return self._expiries.get(order_id)

    def set_expiry(self, expiry: Expiry) -> Callable[[], None]:
        """Add a live order's expiry, or replace it."""
        before = self._expiries.get(expiry.order_id)
        self._add_expiry(expiry)
        return lambda: self._restore_expiry(expiry.order_id, before)

    def remove_expiry(self, order_id: str) -> Callable[[], None]:
        """Remove the expiry of an order that ended, or that leaves the book for a moment."""
        before = self._expiries.pop(order_id)
        return lambda: self._restore_expiry(order_id, before)

    def _restore_expiry(self, order_id: str, before: Expiry | None) -> None:
        if before is None:
            del self._expiries[order_id]
        else:
            self._add_expiry(before)

    def _add_expiry(self, expiry: Expiry) -> None:
        self._expiries[expiry.order_id] = expiry
        heappush(self._expiry_heap, expiry)
        if len(self._expiry_heap) > 2 * len(self._expiries) + STALE_ENTRIES_SPARE:
            self._expiry_heap = list(self._expiries.values())
            heapify(self._expiry_heap)

    def set_switch(self, client_id: str, due_ms: int | None) -> Callable[[], None]:
        """Add a client's switch, replace it, or remove it if `due_ms` is None."""
        before = self._switches.get(client_id)
        self._put_switch(client_id, None if due_ms is None else Switch(due_ms, client_id))
        return lambda: self._put_switch(client_id, before)

    def _put_switch(self, client_id: str, switch: Switch | None) -> None:
        if switch is None:
            self._switches.pop(client_id, None)
            return
        self._switches[client_id] = switch
        heappush(self._switch_heap, switch)
        if len(self._switch_heap) > 2 * len(self._switches) + STALE_ENTRIES_SPARE:
            self._switch_heap = list(self._switches.values())
            heapify(self._switch_heap)

    def next_due(self, now_ms: int) -> Expiry | Switch | None:
        """Return the entry that is due next at this time, or None. It stays until it is removed.

        Entries come in the order of their times, and expiries before switches.
        An entry that has been carried out must be removed before the next call.
        """
        expiry = _first_valid(self._expiry_heap, lambda entry: self._expiries.get(entry.order_id) == entry)
        switch = _first_valid(self._switch_heap, lambda entry: self._switches.get(entry.client_id) == entry)
        due = [entry for entry in (expiry, switch) if entry is not None and entry.due_ms <= now_ms]
        return min(due, key=lambda entry: entry.due_ms, default=None)  # min returns the first of equals


def _first_valid(heap: list[_Entry], is_valid: Callable[[_Entry], bool]) -> _Entry | None:
    """Return the first valid entry of a heap, and drop the stale ones before it."""
    while heap:
        if is_valid(heap[0]):
            return heap[0]
        heappop(heap)
    return None
