"""One instrument's feed in one API process: a copy of the book, and who wants what of it.

The copy makes subscribing free of races: a snapshot is taken from the copy and the client is registered in one
step, so the next delta it gets is the one that continues its snapshot. The copy itself starts from the mirror
and follows the batches of the Channels group. A batch that does not continue it means that one was lost: the
copy is read anew, and everyone who follows the book gets a fresh snapshot.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from django.conf import settings

from marketdata import metrics
from marketdata.book import Book, read_book
from marketdata.messages import LevelDocument, MarketBatch, OrderBookSnapshot
from marketdata.stream.outbox import Outbox
from orders.instruments import TradedInstrument
from orders.models import Side
from rest.content import encode_json
from rest.exceptions import Unavailable
from rest.numbers import json_number
from rest.times import time_text

logger = logging.getLogger(__name__)

RESYNC_RETRY_SECONDS = 0.2


class Feed:
    """Followers of an instrument by channel, and the book that they share."""

    def __init__(self, instrument: TradedInstrument) -> None:
        self.instrument = instrument
        self.book_followers: set[Outbox] = set()
        self.trade_followers: set[Outbox] = set()
        self.order_followers: dict[str, set[Outbox]] = {}
        self._levels: dict[str, dict[int, tuple[str, str, int]]] = {Side.BUY: {}, Side.SELL: {}}
        self._sequence = -1
        self._snapshot: str | None = None  # until the book changes
        self._current = asyncio.Event()  # set while the copy follows the batches
        self._early: list[MarketBatch] = []  # arrived while the copy is being read
        self._resync: asyncio.Task[None] | None = None

    async def follow_book(self, outbox: Outbox) -> None:
        """Send a snapshot, then every delta that continues it."""
        if self._sequence < 0:
            self._start_resync()
        await self._current.wait()
        outbox.put(self._snapshot_text())
        self.book_followers.add(outbox)

    def follow_trades(self, outbox: Outbox) -> None:
        self.trade_followers.add(outbox)

    def follow_orders(self, outbox: Outbox, client_id: str) -> None:
        self.order_followers.setdefault(client_id, set()).add(outbox)

    def unfollow_orders(self, outbox: Outbox, client_id: str) -> None:
        followers = self.order_followers.get(client_id)
        if followers is not None:
            followers.discard(outbox)
            if not followers:
                del self.order_followers[client_id]

    def on_batch(self, batch: MarketBatch) -> None:
        """One commit of the worker, in order; some may be missing."""
        for text in batch.trades:
            _send(self.trade_followers, text)
        for client_id, text in batch.orders:
            _send(self.order_followers.get(client_id, ()), text)
        if not self._current.is_set():
            if self._resync is not None:
                self._early.append(batch)
                del self._early[: -settings.FEED_EARLY_BATCHES_MAX]
        elif not self._apply(batch):
            metrics.gaps.inc()
            logger.info(
                "%s: batch from %d to %d does not continue %d: reading the book anew",
                self.instrument.symbol,
                batch.previous_sequence,
                batch.sequence,
                self._sequence,
            )
            self._start_resync()

    def _apply(self, batch: MarketBatch) -> bool:
        """Whether the copy is current with the batch; the batch's delta goes to the followers."""
        if batch.sequence <= self._sequence:
            return True
        if batch.previous_sequence != self._sequence or not batch.delta:
            return False
        for side, ticks, price, quantity, orders in batch.levels:
            if orders:
                self._levels[side][ticks] = (price, quantity, orders)
            else:
                self._levels[side].pop(ticks, None)
        self._sequence = batch.sequence
        self._snapshot = None
        _send(self.book_followers, batch.delta)
        return True

    def _start_resync(self) -> None:
        self._current.clear()
        if self._resync is None:
            self._resync = asyncio.create_task(self._read_anew(), name=f"resync {self.instrument.symbol}")

    async def _read_anew(self) -> None:
        """Read the book until it joins the batches, then tell the followers."""
        while True:
            try:
                book = await read_book(self.instrument)
            except Unavailable as error:
                logger.warning("%s: the book cannot be read yet: %s", self.instrument.symbol, error.detail)
            except Exception:
                logger.exception("%s: the book cannot be read", self.instrument.symbol)
            else:
                if book.sequence >= self._sequence and self._join(book):
                    break
            await asyncio.sleep(RESYNC_RETRY_SECONDS)
        self._resync = None
        self._current.set()
        _send(self.book_followers, self._snapshot_text())

    def _join(self, book: Book) -> bool:
        """Take the book, and the early batches after it; False where they do not continue it."""
        followers, self.book_followers = self.book_followers, set()  # they get a snapshot, not these deltas
        early, self._early = self._early, []
        grid = self.instrument.grid
        for side, levels in ((Side.BUY, book.bids), (Side.SELL, book.asks)):
            self._levels[side] = {
                level.price_ticks: (
                    grid.price.text(level.price_ticks),
                    grid.quantity.text(level.quantity_lots),
                    level.orders,
                )
                for level in levels
            }
        self._sequence = book.sequence
        self._snapshot = None
        joined = all(self._apply(batch) for batch in early)
        self.book_followers = followers
        return joined

    def _snapshot_text(self) -> str:
        if self._snapshot is None:
            snapshot = OrderBookSnapshot(
                instrument=self.instrument.symbol,
                sequence=self._sequence,
                bids=_documents(self._levels[Side.BUY], best_first_descending=True),
                asks=_documents(self._levels[Side.SELL], best_first_descending=False),
                timestamp=time_text(datetime.now(UTC)),
            )
            self._snapshot = encode_json(snapshot).decode()
        return self._snapshot


def _documents(
    levels: dict[int, tuple[str, str, int]], *, best_first_descending: bool
) -> list[LevelDocument]:
    return [
        LevelDocument(json_number(price), json_number(quantity), orders)
        for _, (price, quantity, orders) in sorted(levels.items(), reverse=best_first_descending)
    ]


def _send(followers: Iterable[Outbox], text: str) -> None:
    for outbox in followers:
        outbox.put(text)
