"""Audiences: clients that follow the same topic and get the same messages, each encoded once."""

from collections.abc import Callable, Sequence

from streaming.outbox import Outbox
from streaming.pace import Pace
from streaming.packet import Packet


class Audience:
    """Followers that get every message immediately."""

    def __init__(self) -> None:
        self.followers: set[Outbox] = set()

    @property
    def all(self) -> set[Outbox]:
        """The followers, and the clients that still wait for their first snapshot."""
        return self.followers

    def join(self, outbox: Outbox) -> None:
        self.followers.add(outbox)

    def leave(self, outbox: Outbox) -> None:
        self.followers.discard(outbox)

    def send(self, message: Packet | str) -> None:
        packet = message if isinstance(message, Packet) else Packet((message,))
        for outbox in self.followers:
            outbox.put(packet)

    def close(self) -> None:
        """Cancel planned sending. Called when the last follower has left."""


class StateAudience(Audience):
    """Followers that get a state after it has changed, at most once in each interval.

    `write` returns the messages of the state, or no messages if there is no state. `greet` returns
    the first messages for a new follower. It defaults to `write`.
    """

    def __init__(
        self,
        interval_seconds: float,
        write: Callable[[], Sequence[str]],
        greet: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self._write = write
        self._greet = greet or write
        self._pace = Pace(interval_seconds, self._send_state)

    def join(self, outbox: Outbox) -> None:
        """Add a follower and send it the current state."""
        super().join(outbox)
        for text in self._greet():
            outbox.put(text)

    def touch(self) -> None:
        """Send the state soon, because it has changed."""
        self._pace.request()

    def flush(self) -> None:
        """Send a pending state now, for example before another state replaces it."""
        self._pace.run_pending()

    def close(self) -> None:
        self._pace.stop()

    def _send_state(self) -> None:
        for text in self._write():
            self.send(text)


class ChangedStateAudience(StateAudience):
    """Followers that get a state only if `key`, the part of it that counts, has changed."""

    def __init__(
        self, interval_seconds: float, write: Callable[[], Sequence[str]], key: Callable[[], object]
    ) -> None:
        super().__init__(interval_seconds, write)
        self._key = key
        self._sent = key()

    def _send_state(self) -> None:
        key = self._key()
        if key != self._sent:
            self._sent = key
            super()._send_state()
