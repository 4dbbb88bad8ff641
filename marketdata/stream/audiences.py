"""Who follows what of an instrument: clients that hear the same messages, each encoded once."""

import asyncio
from collections.abc import Callable, Container

from django.conf import settings

from marketdata.messages import MarketBatch, OrderBookDelta, OrdersSnapshot
from marketdata.selectors import OpenOrders, list_open_orders
from marketdata.stream.attempts import attempt_until_done
from marketdata.stream.book_copy import BookCopy, LevelKey
from marketdata.stream.outbox import Outbox
from marketdata.stream.pace import Pace
from orders.documents import OrderState, stored_state
from orders.instruments import TradedInstrument
from rest.content import encode_json
from rest.database import read_database
from rest.exceptions import Unavailable
from rest.loops import per_event_loop
from rest.times import now_text


class Audience:
    """Hears every message as it comes."""

    def __init__(self) -> None:
        self.followers: set[Outbox] = set()

    @property
    def all(self) -> set[Outbox]:
        """With those who will hear the messages as soon as they have the state before them."""
        return self.followers

    def join(self, outbox: Outbox) -> None:
        self.followers.add(outbox)

    def leave(self, outbox: Outbox) -> None:
        self.followers.discard(outbox)

    def send(self, text: str) -> None:
        for outbox in self.followers:
            outbox.put(text)

    def close(self) -> None:
        """Nobody follows any more."""


class StateAudience(Audience):
    """Hears a state as it changes, at most once in each interval.

    `write` gives it, None where there is none; `greet` gives what one hears who joins, where that is another.
    """

    def __init__(
        self,
        interval_seconds: float,
        write: Callable[[], str | None],
        greet: Callable[[], str | None] | None = None,
    ) -> None:
        super().__init__()
        self._write = write
        self._greet = greet or write
        self._pace = Pace(interval_seconds, self._tell)

    def join(self, outbox: Outbox) -> None:
        """Who joins hears the state at once."""
        super().join(outbox)
        text = self._greet()
        if text is not None:
            outbox.put(text)

    def touch(self) -> None:
        self._pace.ask()

    def flush(self) -> None:
        """The state is about to be another: tell now what was to be told later."""
        self._pace.hurry()

    def close(self) -> None:
        self._pace.stop()

    def _tell(self) -> None:
        text = self._write()
        if text is not None:
            self.send(text)


class BookAudience(Audience):
    """Hears a snapshot, and then every change: merged, where changes come faster than the interval."""

    def __init__(
        self, interval_seconds: float, symbol: str, copy: BookCopy, snapshot: Callable[[], str]
    ) -> None:
        """`snapshot` writes the copy as it is."""
        super().__init__()
        self._behind: set[Outbox] = set()  # need a snapshot first
        self._symbol = symbol
        self._copy = copy
        self._changed: dict[LevelKey, bool] = {}  # since the followers' sequence; whether they know the level
        self._sequence = copy.sequence
        self._timestamp = ""
        self._snapshot = snapshot
        self._pace = Pace(interval_seconds, self._tell)

    @property
    def all(self) -> set[Outbox]:
        return self.followers | self._behind

    def join(self, outbox: Outbox) -> None:
        """Its snapshot comes with `catch_up`."""
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
        """The copy is in doubt: what was not told yet is dropped, and everyone needs a snapshot."""
        self._pace.stop()
        self._changed.clear()
        self._behind |= self.followers
        self.followers.clear()

    def catch_up(self) -> list[Outbox]:
        """Snapshots for those who wait for one and have room: returned. They hear every delta from then on."""
        joining = [outbox for outbox in self._behind if outbox.has_room]
        if not joining:
            return []
        if self._changed:
            self._pace.run()  # the snapshot is of the sequence that the next delta continues
        text = self._snapshot()
        self._sequence = self._copy.sequence
        for outbox in joining:
            self._behind.discard(outbox)
            self.followers.add(outbox)
            outbox.put(text)
        return joining

    def _tell(self) -> None:
        changed, self._changed = self._changed, {}
        previous_sequence, self._sequence = self._sequence, self._copy.sequence
        if not self.followers or not changed:
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
        self.send(encode_json(delta).decode())


class OrdersAudience(Audience):
    """Hears one client's open orders, and then every update of its orders.

    The snapshot is the database's, at the book's sequence there, which batches may reach here only afterwards: a
    follower hears those that are later than its own snapshot. It comes to those who have room for it, as soon as
    they have.
    """

    def __init__(self, instrument: TradedInstrument, client_id: str) -> None:
        super().__init__()
        self._instrument = instrument
        self._client_id = client_id
        self._waiting: set[Outbox] = set()
        self._early: list[tuple[MarketBatch, str]] = []
        self._reading: asyncio.Task[None] | None = None
        self._again = False  # what is being read may be from before a loss
        self.sequence = -1  # of the book, in the last snapshot
        self._sequences: dict[Outbox, int] = {}  # in each follower's

    @property
    def all(self) -> set[Outbox]:
        return self.followers | self._waiting

    def join(self, outbox: Outbox) -> None:
        self.followers.discard(outbox)
        self._waiting.add(outbox)
        self._read()

    async def joined(self) -> None:
        """Raises Unavailable where the orders can't be read within STREAM_BOOK_SECONDS_MAX."""
        if self._reading is None:
            return
        try:
            async with asyncio.timeout(settings.STREAM_BOOK_SECONDS_MAX):
                await asyncio.shield(self._reading)
        except TimeoutError:
            raise Unavailable("Open orders can't be read now. Try again in a moment.") from None

    def leave(self, outbox: Outbox) -> None:
        super().leave(outbox)
        self._waiting.discard(outbox)
        self._sequences.pop(outbox, None)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    def on_update(self, batch: MarketBatch, text: str) -> None:
        for outbox in self.followers:
            if _is_later(batch, self._sequences[outbox]):
                outbox.put(text)
        if self._reading is not None:
            self._early.append((batch, text))
            if len(self._early) > settings.FEED_EARLY_BATCHES_MAX:
                self._early.clear()
                self._again = True

    def catch_up(self) -> None:
        """A snapshot for those who had no room for the last one and have it now."""
        if any(outbox.has_room for outbox in self._waiting):
            self._read()

    def restart(self) -> None:
        """Updates may be missing: everyone needs a snapshot."""
        self._waiting |= self.followers
        self.followers.clear()
        self._again = True
        self._read()

    def _read(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_until_known(), name="open-orders")

    async def _read_until_known(self) -> None:
        found = await attempt_until_done(self._read_once, f"open orders of {self._instrument.symbol}")
        self._reading = None
        self._tell(found)

    async def _read_once(self) -> OpenOrders | None:
        """None where something may have been lost meanwhile."""
        async with open_orders_reads():
            self._early.clear()
            self._again = False
            found = await read_database(
                list_open_orders,
                instrument_id=self._instrument.instrument_id,
                client_id=self._client_id,
                limit=settings.STREAM_OPEN_ORDERS_MAX + 1,
            )
        return None if self._again else found

    def _tell(self, found: OpenOrders) -> None:
        symbol = self._instrument.symbol
        orders = [OrderState(**stored_state(order, symbol)) for order in found.orders]
        snapshot = OrdersSnapshot(
            instrument=symbol,
            client_id=self._client_id,
            sequence=found.sequence,
            orders=orders[: settings.STREAM_OPEN_ORDERS_MAX],
            complete=len(orders) <= settings.STREAM_OPEN_ORDERS_MAX,
            timestamp=now_text(),
        )
        texts = [encode_json(snapshot).decode()]
        texts += [text for batch, text in self._early if _is_later(batch, found.sequence)]
        self._early.clear()
        self.sequence = found.sequence
        ready = {outbox for outbox in self._waiting if outbox.has_room}
        for outbox in ready:
            for text in texts:
                outbox.put(text)
        self.followers |= ready
        self._sequences |= dict.fromkeys(ready, found.sequence)
        self._waiting -= ready


def _is_later(batch: MarketBatch, sequence: int) -> bool:
    """A batch without a change of the book has rejected orders only, which no snapshot has."""
    return batch.sequence > sequence or batch.sequence == batch.previous_sequence


@per_event_loop
def open_orders_reads() -> asyncio.Semaphore:
    """After a loss all clients' orders are read: by turns, so that requests find places beside them."""
    return asyncio.Semaphore(settings.DATABASE_THREADS)
