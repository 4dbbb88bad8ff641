"""Followers of one client's orders in one instrument."""

import asyncio

from django.conf import settings

from marketdata import metrics
from marketdata.messages import MarketBatch, OrdersSnapshot
from marketdata.selectors import list_open_orders
from marketdata.stream.attempts import attempt_until_done
from marketdata.stream.audiences import Audience
from marketdata.stream.outbox import Outbox
from marketdata.stream.packet import Packet, packets_of
from marketdata.stream.snapshots import snapshot_budget
from orders.documents import OrderState, stored_state
from orders.instruments import TradedInstrument
from rest.database import read_database
from rest.encoding import encode_json
from rest.exceptions import Unavailable
from rest.loops import per_event_loop
from rest.times import now_text

ORDER_COST = 10  # of one in a snapshot, in levels of a book


class OrdersAudience(Audience):
    """Hears one client's open orders, and then every update of its orders.

    The snapshot is the database's, at the book's sequence there, which batches may reach here only afterwards: a
    follower hears the updates that are later than its own snapshot. A follower gets its snapshot as soon as it has
    room for it.
    """

    def __init__(self, instrument: TradedInstrument, client_id: str) -> None:
        super().__init__()
        self._instrument = instrument
        self._client_id = client_id
        self._waiting: set[Outbox] = set()
        self._early: list[tuple[int, int, Packet]] = []  # previous sequence, sequence, updates
        self._early_updates = 0
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
        """Raises Unavailable if the orders can't be read within STREAM_BOOK_SECONDS_MAX."""
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

    def on_updates(self, batch: MarketBatch, texts: list[str]) -> None:
        """Updates of one batch, in order."""
        for packet in packets_of(texts):
            for outbox in self.followers:
                if _is_later(batch.previous_sequence, batch.sequence, self._sequences[outbox]):
                    outbox.put(packet)
            if self._reading is not None:
                self._early.append((batch.previous_sequence, batch.sequence, packet))
        if self._reading is not None:
            self._early_updates += len(texts)
            if self._early_updates > settings.FEED_EARLY_UPDATES_MAX:
                self._forget_early()
                self._again = True

    def catch_up(self) -> None:
        """A snapshot for followers that had no room for the last one and have it now."""
        if any(outbox.may_have_snapshot for outbox in self._waiting):
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
        self._tell(*found)

    async def _read_once(self) -> tuple[int, str] | None:
        """The sequence and the text of a snapshot; None if something may have been lost meanwhile."""
        async with open_orders_reads():
            await snapshot_budget().reserve(0)
            self._forget_early()
            self._again = False
            sequence, orders, text = await read_database(_write_snapshot, self._instrument, self._client_id)
            snapshot_budget().spend(orders * ORDER_COST)
        return None if self._again else (sequence, text)

    def _tell(self, sequence: int, text: str) -> None:
        metrics.snapshots.inc()
        snapshot = Packet((text,))
        later = [packet for before, after, packet in self._early if _is_later(before, after, sequence)]
        self._forget_early()
        self.sequence = sequence
        ready = {outbox for outbox in self._waiting if outbox.may_have_snapshot}
        for outbox in ready:
            outbox.put_snapshot(snapshot)
            for packet in later:
                outbox.put(packet)
        self.followers |= ready
        self._sequences |= dict.fromkeys(ready, sequence)
        self._waiting -= ready

    def _forget_early(self) -> None:
        self._early.clear()
        self._early_updates = 0


def _write_snapshot(instrument: TradedInstrument, client_id: str) -> tuple[int, int, str]:
    """The sequence, the number of orders and the text. For a thread of the database: it takes some milliseconds."""
    found = list_open_orders(
        instrument_id=instrument.instrument_id,
        client_id=client_id,
        limit=settings.STREAM_OPEN_ORDERS_MAX + 1,
    )
    orders = [OrderState(**stored_state(order, instrument.symbol)) for order in found.orders]
    snapshot = OrdersSnapshot(
        instrument=instrument.symbol,
        client_id=client_id,
        sequence=found.sequence,
        orders=orders[: settings.STREAM_OPEN_ORDERS_MAX],
        complete=len(orders) <= settings.STREAM_OPEN_ORDERS_MAX,
        timestamp=now_text(),
    )
    return found.sequence, len(orders), encode_json(snapshot).decode()


def _is_later(previous_sequence: int, sequence: int, known: int) -> bool:
    """A batch without a change of the book has rejected orders only, which no snapshot has."""
    return sequence > known or sequence == previous_sequence


@per_event_loop
def open_orders_reads() -> asyncio.Semaphore:
    """After a loss all clients' orders are read: by turns, so that requests find places beside them."""
    return asyncio.Semaphore(settings.DATABASE_THREADS)
