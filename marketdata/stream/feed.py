"""One instrument's feed in one API process: a copy of the book, and who wants what of it.

The copy makes subscribing free of races: a snapshot is taken from the copy and the client is registered in one
step, so the next delta it gets is the one that continues its snapshot. It happens when the client has room for
it: who follows many large books gets them as fast as it reads. The copy itself starts from the mirror and follows
the batches of the Channels group. A batch that does not continue it means that one was lost: the copy is read
anew, and everyone who follows the book gets a fresh snapshot.

Where no batch has agreed with the copy for STREAM_STALE_SECONDS, worker or Redis are away, or the database was
restored to an earlier state: the followers are told that the feed is stale, and with the next batch the copy is
read anew.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from django.conf import settings

from marketdata import metrics
from marketdata.book import Book, read_book
from marketdata.messages import LevelDocument, MarketBatch, OrderBookSnapshot, Resumed, error_text
from marketdata.stream.outbox import Outbox
from orders.instruments import TradedInstrument
from orders.models import Side
from rest.content import encode_json
from rest.exceptions import Unavailable
from rest.numbers import json_number
from rest.times import time_text

logger = logging.getLogger(__name__)


class Feed:
    """Followers of an instrument by channel, and the book that they share."""

    def __init__(self, instrument: TradedInstrument) -> None:
        self.instrument = instrument
        self._book_followers: set[Outbox] = set()
        self._behind: set[Outbox] = set()  # will follow the book, and need a snapshot first
        self.trade_followers: set[Outbox] = set()
        self.order_followers: dict[str, set[Outbox]] = {}
        self._levels: dict[str, dict[int, tuple[str, str, int]]] = {Side.BUY: {}, Side.SELL: {}}
        self._sequence = -1
        self._snapshot: str | None = None  # until the book changes
        self._current = asyncio.Event()  # set while the copy follows the batches
        self._early: list[MarketBatch] = []  # arrived while the copy is being read
        self._resync: asyncio.Task[None] | None = None
        self._confirmed_at = time.monotonic()  # when a batch last agreed with the copy
        self._stale = False  # the followers were told so

    async def follow_book(self, outbox: Outbox) -> None:
        """Send a snapshot as soon as there is room for it, then every delta that continues it.

        Raises Unavailable where the book can't be read within STREAM_BOOK_SECONDS_MAX.
        """
        if self._sequence < 0:
            self._start_resync()
        try:
            async with asyncio.timeout(settings.STREAM_BOOK_SECONDS_MAX):
                await self._current.wait()
        except TimeoutError:
            raise Unavailable(
                f"The book of {self.instrument.symbol} can't be read now. Try again in a moment."
            ) from None
        self._book_followers.discard(outbox)
        self._behind.add(outbox)
        self._catch_up()

    def unfollow_book(self, outbox: Outbox) -> None:
        self._book_followers.discard(outbox)
        self._behind.discard(outbox)

    def follow_trades(self, outbox: Outbox) -> None:
        self.trade_followers.add(outbox)
        self._warn(outbox)

    def follow_orders(self, outbox: Outbox, client_id: str) -> None:
        self.order_followers.setdefault(client_id, set()).add(outbox)
        self._warn(outbox)

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
        if self._resync is not None:
            self._early.append(batch)
            del self._early[: -settings.FEED_EARLY_BATCHES_MAX]
        elif self._sequence < 0:  # nobody has asked for the book yet
            self._confirm()
        elif self._stale:
            logger.info("%s: word of the book again: reading it anew", self.instrument.symbol)
            self._start_resync()
        else:
            self._follow_on(batch)
            self._catch_up()

    def _follow_on(self, batch: MarketBatch) -> None:
        before = self._sequence
        if not self._advance(batch):
            metrics.gaps.inc()
            logger.info(
                "%s: batch from %d to %d does not continue %d: reading the book anew",
                self.instrument.symbol,
                batch.previous_sequence,
                batch.sequence,
                before,
            )
            self._start_resync()
        elif (
            batch.sequence >= before
        ):  # earlier ones say nothing; where only they come, the sequence went back
            self._confirm()
            if batch.sequence > before:
                _send(self._book_followers, batch.delta)

    def on_tick(self) -> None:
        """To be called every now and then.

        Tells the followers, once, where no batch has confirmed the copy for STREAM_STALE_SECONDS.
        """
        self._catch_up()
        if not self._stale and time.monotonic() - self._confirmed_at > settings.STREAM_STALE_SECONDS:
            self._stale = True
            logger.warning("%s: no word of the book: it may be stale", self.instrument.symbol)
            for outbox in self._book_followers | self._listeners():
                self._warn(outbox)

    def _catch_up(self) -> None:
        """Snapshots for those who wait for one and have room; they hear every delta from then on."""
        if self._behind and self._current.is_set():
            for outbox in [outbox for outbox in self._behind if outbox.has_room]:
                self._behind.discard(outbox)
                outbox.put(self._snapshot_text())
                self._book_followers.add(outbox)
                self._warn(outbox)

    def _warn(self, outbox: Outbox) -> None:
        """Tell a follower where the feed is stale."""
        if self._stale:
            symbol = self.instrument.symbol
            message = f"There is no word of {symbol} now: what you know may be old. You hear when it is over."
            outbox.put(error_text("stale", message, instrument=symbol))

    def _confirm(self) -> None:
        """The copy is right. Where it was stale, those hear so who get no snapshot."""
        self._confirmed_at = time.monotonic()
        if self._stale:
            self._stale = False
            resumed = encode_json(Resumed(instrument=self.instrument.symbol)).decode()
            _send(self._listeners() - self._book_followers - self._behind, resumed)

    def _listeners(self) -> set[Outbox]:
        """Followers of trades and of orders."""
        return self.trade_followers.union(*self.order_followers.values())

    def _advance(self, batch: MarketBatch) -> bool:
        """Bring the copy to the batch's sequence, where it is not there yet; False where it can't be."""
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
        return True

    def _start_resync(self) -> None:
        self._current.clear()
        if self._resync is None:
            self._resync = asyncio.create_task(self._read_anew(), name=f"resync {self.instrument.symbol}")

    async def _read_anew(self) -> None:
        """Read the book until it joins the batches, then tell the followers.

        A book that is older than the copy comes from a mirror that lags, or from a database that was restored:
        it is taken where it stays so.
        """
        pause = settings.FEED_RETRY_SECONDS_MIN
        older = 0
        while True:
            try:
                book = await read_book(self.instrument)
            except Unavailable as error:
                logger.warning("%s: the book cannot be read yet: %s", self.instrument.symbol, error.detail)
            except Exception:
                logger.exception("%s: the book cannot be read", self.instrument.symbol)
            else:
                older += book.sequence < self._sequence
                is_taken = book.sequence >= self._sequence or older > settings.FEED_OLDER_BOOKS_MAX
                if is_taken and self._join(book):
                    break
            await asyncio.sleep(pause)
            pause = min(2 * pause, settings.FEED_RETRY_SECONDS_MAX)
        self._resync = None
        self._current.set()
        self._behind |= self._book_followers
        self._book_followers.clear()
        self._confirm()
        self._catch_up()

    def _join(self, book: Book) -> bool:
        """Take the book, and the early batches after it; False where they do not continue it."""
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
        return all(self._advance(batch) for batch in early)

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
