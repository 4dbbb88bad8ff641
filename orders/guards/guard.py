"""The guard of one connection, as its API process knows it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import uuid_utils


class Guard:
    """A connection's guard. Partitions keep it from the first arming on, until the connection ends.

    Commands carry the guard as soon as the first arming is sent, so that nothing that follows it in
    a stream escapes the guard. If that arming fails, commands do not carry the guard any more.
    """

    def __init__(self, on_lost: Callable[[], None]) -> None:
        """`on_lost` is called if the guard has ended while the connection lives."""
        self.connection_id = str(uuid_utils.uuid7())
        self.has_ended = False  # whether the connection has ended, or a partition has lost the guard
        self.client_ids: set[str] = set()  # whose orders may be guarded
        self.sent_to: set[int] = set()  # the partitions that may have the guard
        self.kept_in: set[int] = set()  # the partitions that have confirmed the guard
        self._armed: set[tuple[str, int]] = set()  # clients, and the partitions that guard them
        self._promised: set[str] = set()  # clients whose arming was confirmed by all partitions
        self._is_kept = False
        self._changes = 0  # that are on their way
        self._on_lost = on_lost

    @property
    def carried(self) -> str | None:
        """The guard of a command that the connection sends now."""
        return self.connection_id if self._is_kept or self._changes else None

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Have commands carry the guard while a change is on its way."""
        self._changes += 1
        try:
            yield
        finally:
            self._changes -= 1

    def note_armed(self, client_id: str, partition: int) -> None:
        """Note that a partition guards the client."""
        self.kept_in.add(partition)
        self._armed.add((client_id, partition))

    def note_disarmed(self, client_id: str, partition: int) -> None:
        """Note that a partition no longer guards the client."""
        self.kept_in.add(partition)
        self._armed.discard((client_id, partition))

    def promise(self, client_id: str) -> None:
        """Note that all partitions guard the client."""
        self._promised.add(client_id)
        self._is_kept = True

    def release(self, client_id: str) -> None:
        """Note that no partition guards the client any more."""
        self._promised.discard(client_id)
        self.client_ids.discard(client_id)

    def missing_in(self, partitions: Iterable[int]) -> list[tuple[str, int]]:
        """Return the clients with the partitions that do not guard them yet, but should."""
        return [
            (client_id, partition)
            for partition in partitions
            for client_id in sorted(self._promised)
            if (client_id, partition) not in self._armed
        ]

    def lose(self) -> None:
        """Tell the connection that its guard has ended."""
        if not self.has_ended:
            self.has_ended = True
            self._on_lost()
