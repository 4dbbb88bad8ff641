"""Followers of one client's orders in one instrument."""

import asyncio

from django.conf import settings

from base.database import read_database
from base.encoding import encode_json
from base.loops import per_event_loop
from base.refusals import Unavailable
from base.times import now_text
from instruments.directory import TradedInstrument
from marketdata.messages import MarketBatch, OrdersSnapshot
from marketdata.selectors import list_open_orders
from orders.documents import OrderState, stored_state
from streaming import metrics
from streaming.attempts import attempt_until_done
from streaming.audiences import Audience
from streaming.outbox import Outbox
from streaming.packet import Packet, packets_of
from streaming.snapshots import snapshot_budget

ORDER_COST = 10  # the cost of an order in a snapshot, in price levels


class OrdersAudience(Audience):
    """Followers that get one client's open orders, and then every update of its orders.

    A snapshot is read from the database, with the book's sequence. Batches up to that sequence may
    still arrive afterwards, so a follower gets only the updates after its snapshot's sequence. It
    gets the snapshot once its outbox has room.
    """

    def __init__(self, instrument: TradedInstrument, client_id: str) -> None:
        super().__init__()
        self._instrument = instrument
        self._client_id = client_id
        self._waiting: set[Outbox] = set()
        self._early: list[tuple[int, int, Packet]] = []  # previous sequence, sequence, updates
        self._early_updates = 0
        self._reading: asyncio.Task[None] | None = None
        self._must_read_again = False  # whether the current read may lack updates
        self.sequence = -1  # the book's sequence in the last snapshot
        self._sequences: dict[Outbox, int] = {}  # the book's sequence in each follower's snapshot

    @property
    def all(self) -> set[Outbox]:
        return self.followers | self._waiting

    def join(self, outbox: Outbox) -> None:
        self.followers.discard(outbox)
        self._waiting.add(outbox)
        self._start_reading()

    async def joined(self) -> None:
        """Wait until the snapshot is read. Raises Unavailable after STREAM_BOOK_SECONDS_MAX."""
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
        """Send the updates of one batch, in order."""
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
                self._must_read_again = True

    def catch_up(self) -> None:
        """Read a snapshot for clients that had no room for the last one, but have room now."""
        if any(outbox.may_have_snapshot for outbox in self._waiting):
            self._start_reading()

    def restart(self) -> None:
        """Read a new snapshot for all followers, because updates may be missing."""
        self._waiting |= self.followers
        self.followers.clear()
        self._must_read_again = True
        self._start_reading()

    def _start_reading(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_until_known(), name="open-orders")

    async def _read_until_known(self) -> None:
        found = await attempt_until_done(self._read_once, f"open orders of {self._instrument.symbol}")
        self._reading = None
        self._send_snapshot(*found)

    async def _read_once(self) -> tuple[int, str] | None:
        """Return a snapshot's sequence and text, or None if updates may have been lost."""
        async with open_orders_reads():
            await snapshot_budget().reserve(0)
            self._forget_early()
            self._must_read_again = False
            sequence, orders, text = await read_database(_write_snapshot, self._instrument, self._client_id)
            snapshot_budget().spend(orders * ORDER_COST)
        return None if self._must_read_again else (sequence, text)

    def _send_snapshot(self, sequence: int, text: str) -> None:
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
    """Read a snapshot; returns its sequence, its number of orders and its text.

    Encoding takes some milliseconds, so this runs in a database thread.
    """
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
    """Return whether a batch has updates that a snapshot at the sequence `known` does not have.

    A batch that does not change the book has no resting orders, and snapshots have only these.
    """
    return sequence > known or sequence == previous_sequence


@per_event_loop
def open_orders_reads() -> asyncio.Semaphore:
    """Return the limit of concurrent reads of open orders.

    After lost batches, the orders of all clients are read. The limit leaves threads to requests.
    """
    return asyncio.Semaphore(settings.DATABASE_THREADS)
