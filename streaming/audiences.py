"""Who follows what of an instrument: clients that hear the same messages, each encoded once."""

from collections.abc import Callable, Sequence

from streaming.outbox import Outbox
from streaming.pace import Pace
from streaming.packet import Packet


class Audience:
    """Hears every message as it comes."""

    def __init__(self) -> None:
        self.followers: set[Outbox] = set()

    @property
    def all(self) -> set[Outbox]:
        """The followers, and the clients that wait for the state that comes before the messages."""
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
        """Nobody follows any more."""


class StateAudience(Audience):
    """Hears a state as it changes, at most once in each interval.

    `write` returns the messages that tell it, none if there is no state. `greet` returns the first messages for a
    new follower; it defaults to `write`.
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
        self._pace = Pace(interval_seconds, self._tell)

    def join(self, outbox: Outbox) -> None:
        """A new follower hears the state at once."""
        super().join(outbox)
        for text in self._greet():
            outbox.put(text)

    def touch(self) -> None:
        """The state has changed."""
        self._pace.ask()

    def flush(self) -> None:
        """The state is about to be another one: tell now what was to be told later."""
        self._pace.hurry()

    def close(self) -> None:
        self._pace.stop()

    def _tell(self) -> None:
        for text in self._write():
            self.send(text)
