"""Followers of a book at one pace: each gets a snapshot, and then all later changes."""

from collections.abc import Container

from django.conf import settings

from base.encoding import encode_json
from marketdata.messages import MarketBatch, OrderBookDelta
from streaming.audiences import Audience
from streaming.book_copy import BookCopy, LevelKey
from streaming.outbox import Outbox
from streaming.pace import Pace
from streaming.packet import Packet


class BookAudience(Audience):
    """Followers that get a snapshot, then deltas. Changes within one interval are merged.

    Making a snapshot of a large book takes a while. Meanwhile deltas are kept, to be sent after the
    snapshot. The first kept delta continues the snapshot: it starts at the snapshot's sequence.
    """

    def __init__(self, interval_seconds: float, symbol: str, copy: BookCopy) -> None:
        super().__init__()
        self._behind: set[Outbox] = set()  # clients that need a snapshot first
        self._symbol = symbol
        self._copy = copy
        # Levels that changed since `_sequence`, and whether they existed at `_sequence`.
        self._changed: dict[LevelKey, bool] = {}
        self._sequence = copy.sequence  # of the last delta
        self._timestamp = ""
        self._kept: list[Packet] | None = None  # deltas since `begin_snapshot`; None at other times
        self._kept_bytes = 0
        self._pace = Pace(interval_seconds, self._send_delta)

    @property
    def all(self) -> set[Outbox]:
        return self.followers | self._behind

    @property
    def is_awaiting(self) -> bool:
        """Whether a client waits for a snapshot and has room for it."""
        return any(outbox.may_have_snapshot for outbox in self._behind)

    def join(self, outbox: Outbox) -> None:
        """Add a client. `serve` will send it a snapshot."""
        self.followers.discard(outbox)
        self._behind.add(outbox)

    def leave(self, outbox: Outbox) -> None:
        super().leave(outbox)
        self._behind.discard(outbox)

    def close(self) -> None:
        self._pace.stop()

    def on_changes(self, batch: MarketBatch, known: Container[LevelKey]) -> None:
        """Note the changes of a batch, which the copy has applied.

        `known` has those of the batch's levels that existed before the batch.
        """
        for side, ticks, _, _ in batch.levels:
            self._changed.setdefault((side, ticks), (side, ticks) in known)
        self._timestamp = batch.timestamp
        self._pace.request()

    def restart(self) -> None:
        """Drop pending changes, and make all followers wait for a snapshot of a new copy."""
        self._pace.stop()
        self._changed.clear()
        self.end_snapshot()
        self._behind |= self.followers
        self.followers.clear()

    def begin_snapshot(self) -> None:
        """Keep deltas from now on, because a snapshot of the copy's current state is being made."""
        if self._sequence != self._copy.sequence:
            self._pace.run()
        self._sequence = self._copy.sequence
        self._kept = []
        self._kept_bytes = 0

    def end_snapshot(self) -> None:
        """Stop keeping deltas: the snapshot was abandoned, or the deltas are too large."""
        self._kept = None

    def serve(self, snapshot: Packet) -> list[Outbox]:
        """Send the snapshot and kept deltas to waiting clients with room; returns the clients.

        They get every later delta. No client is served if `begin_snapshot` was not called for this
        snapshot, or if the kept deltas exceeded STREAM_KEPT_BYTES_MAX. Then the clients wait for
        another snapshot.
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

    def _send_delta(self) -> None:
        changed, self._changed = self._changed, {}
        previous_sequence, self._sequence = self._sequence, self._copy.sequence
        # A change of waiting orders has a number, but changes no level.
        if self._sequence == previous_sequence or not (self.followers or self._kept is not None):
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
