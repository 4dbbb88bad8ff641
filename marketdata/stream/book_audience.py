"""Followers of a book, at one pace: each has a snapshot, and then every change since that snapshot."""

from collections.abc import Container

from django.conf import settings

from marketdata.messages import MarketBatch, OrderBookDelta
from marketdata.stream.audiences import Audience
from marketdata.stream.book_copy import BookCopy, LevelKey
from marketdata.stream.outbox import Outbox
from marketdata.stream.pace import Pace
from marketdata.stream.packet import Packet
from rest.encoding import encode_json


class BookAudience(Audience):
    """Hears a snapshot, and then every change; changes that come faster than the interval are merged.

    A snapshot of a large book takes a while to make. Deltas of that time are kept, and follow it. They continue the
    snapshot, because both begin at the sequence of `begin_snapshot`.
    """

    def __init__(self, interval_seconds: float, symbol: str, copy: BookCopy) -> None:
        super().__init__()
        self._behind: set[Outbox] = set()  # need a snapshot first
        self._symbol = symbol
        self._copy = copy
        self._changed: dict[LevelKey, bool] = {}  # since the followers' sequence; whether they know the level
        self._sequence = copy.sequence
        self._timestamp = ""
        self._kept: list[Packet] | None = None  # deltas since the snapshot that is being made
        self._kept_bytes = 0
        self._pace = Pace(interval_seconds, self._tell)

    @property
    def all(self) -> set[Outbox]:
        return self.followers | self._behind

    @property
    def is_awaiting(self) -> bool:
        """Whether somebody waits for a snapshot, and has room for it."""
        return any(outbox.may_have_snapshot for outbox in self._behind)

    def join(self, outbox: Outbox) -> None:
        """The snapshot comes with `serve`."""
        self.followers.discard(outbox)
        self._behind.add(outbox)

    def leave(self, outbox: Outbox) -> None:
        super().leave(outbox)
        self._behind.discard(outbox)

    def close(self) -> None:
        self._pace.stop()

    def on_changes(self, batch: MarketBatch, known: Container[LevelKey]) -> None:
        """A batch that the copy has taken, and the levels of it that the copy had before."""
        for side, ticks, _, _ in batch.levels:
            self._changed.setdefault((side, ticks), (side, ticks) in known)
        self._timestamp = batch.timestamp
        self._pace.ask()

    def restart(self) -> None:
        """The copy is in doubt: drop what was not told yet; everyone needs a snapshot."""
        self._pace.stop()
        self._changed.clear()
        self.end_snapshot()
        self._behind |= self.followers
        self.followers.clear()

    def begin_snapshot(self) -> None:
        """A snapshot of the copy as it is now is being made."""
        if self._changed:
            self._pace.run()
        self._sequence = self._copy.sequence
        self._kept = []
        self._kept_bytes = 0

    def end_snapshot(self) -> None:
        """Nobody waits for that snapshot any more."""
        self._kept = None

    def serve(self, snapshot: Packet) -> list[Outbox]:
        """Give it to everyone that waits and has room, and the deltas since; returns those.

        They hear every delta from then on. None are served if `begin_snapshot` was not called for this snapshot, or
        if more has changed since than STREAM_KEPT_BYTES_MAX: they wait for another one.
        """
        kept, self._kept = self._kept, None
        if kept is None:
            return []
        joining = [outbox for outbox in self._behind if outbox.may_have_snapshot]
        for outbox in joining:
            self._behind.discard(outbox)
            self.followers.add(outbox)
            outbox.put_snapshot(snapshot)
            for delta in kept:
                outbox.put(delta)
        return joining

    def _tell(self) -> None:
        changed, self._changed = self._changed, {}
        previous_sequence, self._sequence = self._sequence, self._copy.sequence
        if not changed or not (self.followers or self._kept is not None):
            return
        changes = [(known, self._copy.change(key)) for key, known in changed.items()]
        delta = OrderBookDelta(
            instrument=self._symbol,
            sequence=self._sequence,
            previous_sequence=previous_sequence,
            changes=[change for known, change in changes if known or change.orders],
            checksum=self._copy.checksum(),
            timestamp=self._timestamp,
        )
        packet = Packet((encode_json(delta).decode(),))
        self.send(packet)
        if self._kept is not None:
            self._kept.append(packet)
            self._kept_bytes += packet.size
            if self._kept_bytes > settings.STREAM_KEPT_BYTES_MAX:
                self.end_snapshot()
