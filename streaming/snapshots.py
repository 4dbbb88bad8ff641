"""Makes exact snapshots of a book for its followers, at a bounded rate for any number of requests.

A snapshot of a small book is made at once, unless this process made too many recently: all small
snapshots share STREAM_SNAPSHOT_LEVELS_PER_SECOND. A large snapshot is made in slices between turns
of the event loop, for one book at a time, in at most a quarter of the time. Deltas are kept
meanwhile. Then all waiting clients get the same packet. So a client that subscribes again and again
waits for its turn, and does not slow other clients down.

A snapshot costs about 2 µs for each level.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from django.conf import settings

from base.encoding import encode_json
from base.loops import per_event_loop
from base.times import now_text
from marketdata.book import BookLevel
from marketdata.messages import OrderBookSnapshot
from orders.models import OrderSide
from streaming import metrics
from streaming.book_audience import BookAudience
from streaming.book_copy import BookCopy
from streaming.outbox import Outbox
from streaming.packet import Packet

SNAPSHOT_COST = 50  # the cost of a snapshot in addition to its levels, in levels
SLICE_SHARE = 4  # Slices take a fourth of the time: each pause is 3 times as long as its slice.
LEVELS_MARKS = ('"bids":[]', '"asks":[]')  # where an empty snapshot gets its levels


class SnapshotBudget:
    """The number of levels that may go into snapshots now. The last snapshot may exceed it."""

    def __init__(self) -> None:
        self._levels = float(settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND)
        self._refilled_at = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether a snapshot may be made now."""
        self._refill()
        return self._levels > 0

    async def reserve(self, levels: int) -> None:
        """Spend the levels of a snapshot, and wait until the snapshot may be made."""
        self._refill()
        seconds = -self._levels / settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND
        self.spend(levels)
        await asyncio.sleep(max(0.0, seconds))

    def spend(self, levels: int) -> None:
        """Spend the levels of a snapshot that is made now."""
        self._refill()
        self._levels -= SNAPSHOT_COST + levels

    def _refill(self) -> None:
        per_second = settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND
        now = time.monotonic()
        self._levels = min(per_second, self._levels + (now - self._refilled_at) * per_second)
        self._refilled_at = now


@per_event_loop
def snapshot_budget() -> SnapshotBudget:
    """Return the budget of the running event loop."""
    return SnapshotBudget()


@per_event_loop
def _large_snapshots() -> asyncio.Lock:
    return asyncio.Lock()


class _Snapshot(NamedTuple):
    sequence: int
    made_at: float  # time.monotonic()
    packet: Packet


class BookSnapshots:
    """Makes the snapshots of one book and gives them to its audiences."""

    def __init__(
        self,
        symbol: str,
        copy: BookCopy,
        audiences: Callable[[], list[BookAudience]],
        on_served: Callable[[list[Outbox]], None],
    ) -> None:
        """Create an object that has made no snapshot yet.

        `audiences` returns the book's audiences. `on_served` is called with the followers that got
        their snapshot.
        """
        self._symbol = symbol
        self._copy = copy
        self._audiences = audiences
        self._on_served = on_served
        self._last: _Snapshot | None = None
        self._making: asyncio.Task[None] | None = None
        self._is_valid = True  # whether the snapshot that is being made may be used
        self._large_due = 0.0  # the time.monotonic() at which the next large snapshot may begin

    def serve(self) -> None:
        """Serve waiting clients that have room, now or later. The copy must be current."""
        if self._making is not None or not any(audience.is_awaiting for audience in self._audiences()):
            return
        if self._last is not None and self._last.sequence == self._copy.sequence:
            packet = self._last.packet
        elif self._copy.level_count <= settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE and snapshot_budget().is_open:
            snapshot_budget().spend(self._copy.level_count)
            packet = self._make_at_once()
        else:
            self._making = asyncio.create_task(self._make_and_serve(), name=f"snapshot {self._symbol}")
            return
        self._begin_in_audiences()
        self._serve_audiences(packet)

    def restart(self) -> None:
        """Drop the last snapshot and the one that is being made, because the copy may be wrong."""
        self._last = None
        self._is_valid = False

    def on_tick(self) -> None:
        """Drop the last snapshot once it is older than STREAM_SNAPSHOT_SECONDS, to free memory."""
        if (
            self._last is not None
            and time.monotonic() - self._last.made_at > settings.STREAM_SNAPSHOT_SECONDS
        ):
            self._last = None

    def _begin_in_audiences(self) -> None:
        for audience in self._audiences():
            audience.begin_snapshot()

    def _serve_audiences(self, packet: Packet) -> None:
        for audience in self._audiences():
            self._on_served(audience.serve(packet))

    async def _make_and_serve(self) -> None:
        """Make a snapshot once that is allowed, and send it to all clients that are waiting."""
        try:
            await self._make_in_turn()
        finally:
            self._making = None
            for audience in self._audiences():
                audience.end_snapshot()
        if self._is_valid:
            self.serve()  # for audiences that were added meanwhile

    async def _make_in_turn(self) -> None:
        self._is_valid = True
        if self._copy.level_count <= settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE:
            await snapshot_budget().reserve(self._copy.level_count)
            if self._is_valid:
                self._begin_in_audiences()
                self._serve_audiences(self._make_at_once())
            return
        await asyncio.sleep(max(0.0, self._large_due - time.monotonic()))
        async with _large_snapshots():
            if self._is_valid:
                self._begin_in_audiences()
                sequence = self._copy.sequence
                packet = await self._make_in_slices()
                self._large_due = time.monotonic() + settings.STREAM_SNAPSHOT_SECONDS
                if self._is_valid:
                    self._last = _Snapshot(sequence, time.monotonic(), packet)
                    self._serve_audiences(packet)

    def _make_at_once(self) -> Packet:
        metrics.snapshots.inc()
        before, between, after = self._message_frame()
        bids, asks = (
            self._copy.levels_text(self._copy.levels(side)) for side in (OrderSide.BUY, OrderSide.SELL)
        )
        packet = Packet((f"{before}{bids}{between}{asks}{after}",))
        self._last = _Snapshot(self._copy.sequence, time.monotonic(), packet)
        return packet

    async def _make_in_slices(self) -> Packet:
        """Make a snapshot of the copy's current state. The copy may change meanwhile."""
        metrics.snapshots.inc()
        before, between, after = self._message_frame()
        sides = [self._copy.levels(side) for side in (OrderSide.BUY, OrderSide.SELL)]
        bids, asks = [await self._levels_text_in_slices(levels) for levels in sides]
        return Packet((f"{before}{bids}{between}{asks}{after}",))

    def _message_frame(self) -> tuple[str, str, str]:
        """Return the message's text before the bids, between bids and asks, and after the asks."""
        snapshot = OrderBookSnapshot(
            instrument=self._symbol,
            sequence=self._copy.sequence,
            bids=[],
            asks=[],
            checksum=self._copy.checksum(),
            timestamp=now_text(),
        )
        bids_mark, asks_mark = LEVELS_MARKS
        before, rest = encode_json(snapshot).decode().split(bids_mark)
        between, after = rest.split(asks_mark)
        return f"{before}{bids_mark[:-1]}", f"]{between}{asks_mark[:-1]}", f"]{after}"

    async def _levels_text_in_slices(self, levels: list[BookLevel]) -> str:
        texts = []
        for start in range(0, len(levels), settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE):
            async with _slice():
                slice_levels = levels[start : start + settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE]
                texts.append(self._copy.levels_text(slice_levels))
        return ",".join(texts)


@asynccontextmanager
async def _slice() -> AsyncIterator[None]:
    """Run a slice of work, followed by a pause in proportion to it."""
    began = time.thread_time()
    yield
    await asyncio.sleep((SLICE_SHARE - 1) * (time.thread_time() - began))
