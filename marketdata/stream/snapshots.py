"""Snapshots of a book for its followers: exact, and made at a bounded pace, whatever clients ask for.

A snapshot of a small book is made at once, as long as this process has not made too many of late: they share
STREAM_SNAPSHOT_LEVELS_PER_SECOND. A large one is made in slices between turns of the event loop, one book at a
time, in a quarter of the time at most; meanwhile followers' deltas are kept. Everyone that waits then is served
with one text. So a client that subscribes again and again waits for its turn, and slows nobody else down.

Making one costs some 2 µs a level.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from django.conf import settings

from marketdata import metrics
from marketdata.book import BookLevel
from marketdata.messages import OrderBookSnapshot
from marketdata.stream.book_audience import BookAudience
from marketdata.stream.book_copy import BookCopy
from marketdata.stream.outbox import Outbox
from marketdata.stream.packet import Packet
from orders.models import Side
from rest.encoding import encode_json
from rest.loops import per_event_loop
from rest.times import now_text

SNAPSHOT_COST = 50  # of one, beside its levels, in levels
SLICE_SHARE = 4  # a slice, and three times as long a pause
LEVELS_MARKS = ('"bids":[]', '"asks":[]')  # where a snapshot without levels has them


class SnapshotBudget:
    """Levels that this process may put into snapshots; overdrawn by one snapshot at most."""

    def __init__(self) -> None:
        self._levels = float(settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND)
        self._counted_at = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether a snapshot may be made now."""
        self._count()
        return self._levels > 0

    async def reserve(self, levels: int) -> None:
        """Spend, and wait until the snapshot may be made."""
        self._count()
        seconds = -self._levels / settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND
        self.spend(levels)
        await asyncio.sleep(max(0.0, seconds))

    def spend(self, levels: int) -> None:
        """Of a snapshot that is made."""
        self._count()
        self._levels -= SNAPSHOT_COST + levels

    def _count(self) -> None:
        per_second = settings.STREAM_SNAPSHOT_LEVELS_PER_SECOND
        now = time.monotonic()
        self._levels = min(per_second, self._levels + (now - self._counted_at) * per_second)
        self._counted_at = now


@per_event_loop
def snapshot_budget() -> SnapshotBudget:
    """Of the running event loop."""
    return SnapshotBudget()


@per_event_loop
def _large_snapshots() -> asyncio.Lock:
    return asyncio.Lock()


class _Snapshot(NamedTuple):
    sequence: int
    made_at: float  # time.monotonic()
    packet: Packet


class BookSnapshots:
    """Of one book."""

    def __init__(
        self,
        symbol: str,
        copy: BookCopy,
        audiences: Callable[[], list[BookAudience]],
        on_served: Callable[[list[Outbox]], None],
    ) -> None:
        """`audiences` returns the book's. `on_served` is called with followers that got their snapshot."""
        self._symbol = symbol
        self._copy = copy
        self._audiences = audiences
        self._on_served = on_served
        self._last: _Snapshot | None = None
        self._making: asyncio.Task[None] | None = None
        self._is_valid = True  # what is being made
        self._due = 0.0  # when the next large one may begin, by time.monotonic()

    def serve(self) -> None:
        """Snapshots for followers that wait for one and have room, some later. The copy must be current."""
        if self._making is not None or not any(audience.is_awaiting for audience in self._audiences()):
            return
        if self._last is not None and self._last.sequence == self._copy.sequence:
            packet = self._last.packet
        elif self._copy.level_count <= settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE and snapshot_budget().is_open:
            snapshot_budget().spend(self._copy.level_count)
            packet = self._make_at_once()
        else:
            self._making = asyncio.create_task(self._make(), name=f"snapshot {self._symbol}")
            return
        self._begin()
        self._give(packet)

    def restart(self) -> None:
        """The copy is in doubt: drop what was made, and what is being made."""
        self._last = None
        self._is_valid = False

    def on_tick(self) -> None:
        """To be called every now and then. Does not keep a text for longer than it is likely to be asked for."""
        if (
            self._last is not None
            and time.monotonic() - self._last.made_at > settings.STREAM_SNAPSHOT_SECONDS
        ):
            self._last = None

    def _begin(self) -> None:
        for audience in self._audiences():
            audience.begin_snapshot()

    def _give(self, packet: Packet) -> None:
        for audience in self._audiences():
            self._on_served(audience.serve(packet))

    async def _make(self) -> None:
        """Make one when it may be made, and give it to everyone that waits then."""
        try:
            await self._make_in_turn()
        finally:
            self._making = None
            for audience in self._audiences():
                audience.end_snapshot()
        if self._is_valid:
            self.serve()  # to an audience that came while it was made

    async def _make_in_turn(self) -> None:
        self._is_valid = True
        if self._copy.level_count <= settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE:
            await snapshot_budget().reserve(self._copy.level_count)
            if self._is_valid:
                self._begin()
                self._give(self._make_at_once())
            return
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        async with _large_snapshots():
            if self._is_valid:
                self._begin()
                sequence = self._copy.sequence
                packet = await self._make_in_slices()
                self._due = time.monotonic() + settings.STREAM_SNAPSHOT_SECONDS
                if self._is_valid:
                    self._last = _Snapshot(sequence, time.monotonic(), packet)
                    self._give(packet)

    def _make_at_once(self) -> Packet:
        metrics.snapshots.inc()
        before, between, after = self._frame()
        bids, asks = (self._copy.levels_text(self._copy.levels(side)) for side in (Side.BUY, Side.SELL))
        packet = Packet((f"{before}{bids}{between}{asks}{after}",))
        self._last = _Snapshot(self._copy.sequence, time.monotonic(), packet)
        return packet

    async def _make_in_slices(self) -> Packet:
        """Of the copy as it is now, although it may change while that is written."""
        metrics.snapshots.inc()
        before, between, after = self._frame()
        sides = [self._copy.levels(side) for side in (Side.BUY, Side.SELL)]
        bids, asks = [await self._levels_text_in_slices(levels) for levels in sides]
        return Packet((f"{before}{bids}{between}{asks}{after}",))

    def _frame(self) -> tuple[str, str, str]:
        """The message before its bids, between those and the asks, and after them."""
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
                some = levels[start : start + settings.STREAM_SNAPSHOT_LEVELS_AT_ONCE]
                texts.append(self._copy.levels_text(some))
        return ",".join(texts)


@asynccontextmanager
async def _slice() -> AsyncIterator[None]:
    """A piece of work, followed by a pause in proportion."""
    began = time.thread_time()
    yield
    await asyncio.sleep((SLICE_SHARE - 1) * (time.thread_time() - began))
