"""The guards of connections to /stream, as a partition knows them.

A connection with a guard is a fence, too: its commands carry its id, and once the guard has ended,
they are refused. So a guard stays until its connection ends, even if it guards no client any more.
Nothing here reads a clock: the worker says which guards end (matching/worker/life_watch.py).
"""

from collections.abc import Callable, Collection, KeysView
from typing import NamedTuple


class Guard(NamedTuple):
    """The guard of one connection: its API process, and the clients whose orders it guards."""

    process_id: str
    client_ids: tuple[str, ...]


class Guards:
    """The guards of one partition by connection, and how to take changes back."""

    def __init__(self) -> None:
        self._guards: dict[str, Guard] = {}
        self._of_process: dict[str, dict[str, None]] = {}  # connection ids, in the order of their guards

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._guards

    @property
    def process_ids(self) -> KeysView[str]:
        """The API processes whose connections have guards."""
        return self._of_process.keys()

    def get(self, connection_id: str) -> Guard | None:
        return self._guards.get(connection_id)

    def of_process(self, process_id: str) -> Collection[str]:
        """Return the ids of the process's connections that have a guard."""
        return self._of_process.get(process_id, {}).keys()

    def set(self, connection_id: str, guard: Guard | None) -> Callable[[], None]:
        """Add a connection's guard, replace it, or remove it if `guard` is None.

        The returned function takes the change back.
        """
        before = self._guards.get(connection_id)
        self._put(connection_id, guard)
        return lambda: self._put(connection_id, before)

    def _put(self, connection_id: str, guard: Guard | None) -> None:
        before = self._guards.pop(connection_id, None)
        if before is not None:
            of_process = self._of_process[before.process_id]
            del of_process[connection_id]
            if not of_process:
                del self._of_process[before.process_id]
        if guard is not None:
            self._guards[connection_id] = guard
            self._of_process.setdefault(guard.process_id, {})[connection_id] = None
