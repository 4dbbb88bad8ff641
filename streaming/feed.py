"""One instrument's feed in one API process: copies of its book and its last day, and followers.

The copy makes subscribing free of races: a snapshot is made from the copy, and deltas start at the
snapshot's sequence. A client gets a snapshot once its outbox has room, so a client that follows
many large books gets them as fast as it reads.

The copy starts from the mirror and follows the batches of the Channels group. If a batch does not
continue the copy, an earlier batch was lost: the copy is read again, and all followers of the book
get a new snapshot. The same happens if the checksum in a book heartbeat is not the copy's.

If no batch has confirmed the copy for STREAM_STALE_SECONDS, the worker or Redis does not run, or
the database was restored to an earlier state. Then the followers are told that the feed is stale,
and the copy is read again at the next batch.
"""

import asyncio
import logging
import time
from collections.abc import Iterator

import msgspec
from django.conf import settings

from base.encoding import encode_json
from base.refusals import Unavailable
from instruments.directory import TradedInstrument
from marketdata.book import Book, read_book
from marketdata.messages import MarketBatch, Minute, Resumed, error_text
from orders.documents import order_update
from streaming import metrics
from streaming.attempts import attempt_until_done
from streaming.audiences import Audience, ChangedStateAudience, StateAudience
from streaming.book_audience import BookAudience
from streaming.book_copy import BookCopy
from streaming.candle_audience import CandleAudience
from streaming.fills import Fills, fill_texts
from streaming.orders_audience import OrdersAudience
from streaming.outbox import Outbox
from streaming.packet import packets_of
from streaming.snapshots import BookSnapshots
from streaming.states import depth_text, quote_text, ticker_text
from streaming.tape import Tape
from streaming.topics import Channel, Topic

logger = logging.getLogger(__name__)

BOOK_CHANNELS = (Channel.ORDERBOOK_DELTAS, Channel.DEPTH, Channel.QUOTES, Channel.TICKER)
TRADING_CHANNELS = (Channel.CANDLES, Channel.TICKER)


class Feed:
    """The followers of an instrument by topic, and the copies that they share."""

    def __init__(self, instrument: TradedInstrument) -> None:
        self.instrument = instrument
        self._audiences: dict[Topic, Audience] = {}  # of all channels except orders
        self._orders: dict[Topic, OrdersAudience] = {}  # one for each client id, maybe thousands
        self._fills = Fills()
        self._fill_followers = 0  # topics of the channel fills
        self._copy = BookCopy(instrument.grid)
        self._tape = Tape(instrument, on_read=lambda: self._touch_states(TRADING_CHANNELS))
        self._current = asyncio.Event()  # set while the copy follows the batches
        self._early: list[MarketBatch] = []  # batches that arrived during the read of the book
        self._resync: asyncio.Task[None] | None = None
        self._sequence = -1  # the last batch's, while no client follows the book
        self._heard_at = time.monotonic()  # when the last batch arrived
        self._confirmed_at = time.monotonic()  # when a batch last confirmed the copy
        self._stale = False  # whether the followers were told that the feed is stale
        self._snapshots = BookSnapshots(
            instrument.symbol, self._copy, self._book_audiences, self._warn_all_if_stale
        )
        self._refuted_sequence = -1  # the copy's sequence when its checksum last was wrong

    async def follow(self, topic: Topic, outbox: Outbox) -> None:
        """Add a follower. It gets the topic's state, if there is one, and then all messages.

        A snapshot is sent once the outbox has room for it. Raises Unavailable if the data can't be
        read within STREAM_BOOK_SECONDS_MAX.
        """
        try:
            async with asyncio.timeout(settings.STREAM_BOOK_SECONDS_MAX):
                await self._load_data_of(topic)
        except TimeoutError:
            raise Unavailable(
                f"The market data of {self.instrument.symbol} can't be read now. Try again in a moment."
            ) from None
        if topic.channel is Channel.ORDERS:
            await self._follow_orders(topic, outbox)
            return
        audience = self._audiences.get(topic)
        if audience is None:
            audience = self._audiences[topic] = self._make_audience(topic)
            self._fill_followers += topic.channel is Channel.FILLS
        audience.join(outbox)
        if isinstance(audience, BookAudience):
            self._serve_snapshots()
        else:
            self._warn_if_stale(outbox)

    async def _follow_orders(self, topic: Topic, outbox: Outbox) -> None:
        audience = self._orders.get(topic)
        if audience is None:
            audience = self._orders[topic] = OrdersAudience(self.instrument, topic.client_id)
        audience.join(outbox)
        self._warn_if_stale(outbox)
        await audience.joined()
        if self._sequence < 0:
            # So a loss before the first batch is noticed too.
            self._sequence = audience.sequence

    def unfollow(self, topic: Topic, outbox: Outbox) -> None:
        audience = self._audiences.get(topic) or self._orders.get(topic)
        if audience is not None:
            audience.leave(outbox)
            if not audience.all:
                audience.close()
                if self._audiences.pop(topic, None) is not None:
                    self._fill_followers -= topic.channel is Channel.FILLS
                self._orders.pop(topic, None)

    def on_batch(self, batch: MarketBatch) -> None:
        """Process a batch of the worker. Batches come in order, but some may be missing."""
        for _ in self.take(batch):
            pass

    def take(self, batch: MarketBatch) -> Iterator[None]:
        """Process a batch in steps of a bounded amount of work, and yield between them.

        All steps must be run before the next batch. Trades are sent first, then order updates, then
        changes of the book.
        """
        self._heard_at = time.monotonic()
        if trades := self._audiences.get(Topic(Channel.TRADES)):
            for packet in packets_of(batch.trades):
                trades.send(packet)
                yield
        if self._orders or self._fill_followers:
            self._fills.keep(batch, self._is_followed)
            for start in range(0, len(batch.orders), settings.FEED_UPDATES_AT_ONCE):
                self._send_order_updates(batch, batch.orders[start : start + settings.FEED_UPDATES_AT_ONCE])
                yield
        if batch.minute is not None:
            self._apply_minute(batch.minute)
        if self._resync is not None:
            self._early.append(msgspec.structs.replace(batch, trades=[], orders=[]))
            del self._early[: -settings.FEED_EARLY_BATCHES_MAX]
        elif self._copy.sequence < 0:  # No client has followed the book yet.
            self._track_sequence(batch)
        elif self._stale:
            logger.info("%s: updates resume: the book is read again", self.instrument.symbol)
            self._start_resync()
        else:
            self._apply_to_copy(batch)
        if batch.minute is not None:
            self._touch_states(TRADING_CHANNELS)  # Comes last, because tickers also show the book.

    def _send_order_updates(self, batch: MarketBatch, updates: list[tuple[str, int, bytes]]) -> None:
        """Send `updates`, which are some of the batch's order updates, in order."""
        texts: dict[Topic, list[str]] = {}
        for client_id, sequence, state in updates:
            if not self._is_followed(client_id):
                continue
            fills = self._fills.take(state)
            topic = Topic(Channel.ORDERS, client_id=client_id)
            if topic in self._orders:
                update = order_update(state, sequence, [fill.document for fill in fills])
                texts.setdefault(topic, []).append(update)
            followers = self._audiences.get(Topic(Channel.FILLS, client_id=client_id))
            if fills and followers is not None:
                for packet in packets_of(fill_texts(state, fills)):
                    followers.send(packet)
        for topic, topic_texts in texts.items():
            self._orders[topic].on_updates(batch, topic_texts)

    def _is_followed(self, client_id: str) -> bool:
        """Return whether a client follows the orders or the fills of this client."""
        return (
            Topic(Channel.ORDERS, client_id=client_id) in self._orders
            or Topic(Channel.FILLS, client_id=client_id) in self._audiences
        )

    def _apply_minute(self, minute: Minute) -> None:
        for candles in self._candle_audiences():
            candles.before_minute(minute)
        self._tape.on_minute(minute)

    def on_tick(self) -> None:
        """Do all work that depends on time. Called every TICK_SECONDS of the hub.

        If no batch has confirmed the copy for STREAM_STALE_SECONDS, the followers are told once.
        """
        self._snapshots.on_tick()
        self._serve_snapshots()
        for candles in self._candle_audiences():
            candles.on_tick()
        for orders in self._orders.values():
            orders.catch_up()
        if not self._stale and time.monotonic() - self._confirmed_at > settings.STREAM_STALE_SECONDS:
            self._stale = True
            logger.warning("%s: no updates of the book: it may be stale", self.instrument.symbol)
            for outbox in self._all_outboxes():
                self._warn_if_stale(outbox)

    async def _load_data_of(self, topic: Topic) -> None:
        """Wait until the feed has the topic's data, and read the data if no read has begun."""
        if topic.channel in BOOK_CHANNELS:
            if self._copy.sequence < 0:
                self._start_resync()
            await self._current.wait()
        if topic.channel in TRADING_CHANNELS:
            if not self._tape.is_wanted:
                self._tape.read()
            await self._tape.known.wait()

    def _make_audience(self, topic: Topic) -> Audience:
        throttle_seconds = topic.throttle_milliseconds / 1000
        match topic.channel:
            case Channel.ORDERBOOK_DELTAS:
                return BookAudience(throttle_seconds, self.instrument.symbol, self._copy)
            case Channel.TICKER:
                return StateAudience(
                    max(throttle_seconds, settings.STREAM_TICKER_SECONDS), self._ticker_texts
                )
            case Channel.QUOTES:
                return ChangedStateAudience(throttle_seconds, self._quote_texts, self._copy.best)
            case Channel.DEPTH:
                return StateAudience(max(throttle_seconds, settings.STREAM_DEPTH_SECONDS), self._depth_texts)
            case Channel.CANDLES:
                return CandleAudience(
                    interval_seconds=max(throttle_seconds, settings.STREAM_CANDLE_SECONDS),
                    symbol=self.instrument.symbol,
                    name=topic.interval,
                    interval=topic.candle_interval,
                    tape=self._tape,
                )
            case _:
                return Audience()

    def _track_sequence(self, batch: MarketBatch) -> None:
        """Follow the sequence while no client needs the book.

        If batches are missing, open orders and the tape are read again.
        """
        if batch.sequence < self._sequence and not self._stale:
            return  # See _apply_to_copy.
        continues = self._sequence in (-1, batch.previous_sequence, batch.sequence)
        if not continues:
            metrics.gaps.inc()
            logger.info("%s: batches are missing before %d", self.instrument.symbol, batch.sequence)
        if not continues or self._stale:
            self._reload_orders_and_trading()
        self._sequence = batch.sequence
        self._confirm_copy()

    def _apply_to_copy(self, batch: MarketBatch) -> None:
        """Apply a batch to the copy and its followers. If the copy is wrong, read it again."""
        before = self._copy.sequence
        if batch.sequence < before:
            # The copy already has these changes. If only such batches arrive, the database was
            # restored to an earlier state: then no batch confirms the copy, and it becomes stale.
            return
        known = self._copy.known(batch.levels)
        if not self._advance_copy(batch):
            self._resync_after_gap(
                f"batch from {batch.previous_sequence} to {batch.sequence} does not continue {before}"
            )
        elif batch.checksum not in (None, self._copy.checksum()) and self._refuted_sequence != before:
            # Read again only once for each sequence: a wrong mirror stays wrong until the book
            # moves.
            self._refuted_sequence = before
            self._resync_after_gap(f"the copy at {before} is not the worker's book")
        else:
            self._confirm_copy()
            if batch.sequence > before:
                for audience in self._book_audiences():
                    audience.on_changes(batch, known)
                self._touch_states(BOOK_CHANNELS)

    def _resync_after_gap(self, reason: str) -> None:
        metrics.gaps.inc()
        logger.info("%s: %s: the book is read again", self.instrument.symbol, reason)
        self._start_resync()

    def _book_audiences(self) -> list[BookAudience]:
        return [audience for audience in self._audiences.values() if isinstance(audience, BookAudience)]

    def _candle_audiences(self) -> list[CandleAudience]:
        return [audience for audience in self._audiences.values() if isinstance(audience, CandleAudience)]

    def _touch_states(self, channels: tuple[Channel, ...]) -> None:
        for topic, audience in self._audiences.items():
            if topic.channel in channels and isinstance(audience, StateAudience):
                audience.touch()

    def _serve_snapshots(self) -> None:
        """Send snapshots to waiting clients that have room."""
        if self._current.is_set():
            self._snapshots.serve()

    def _warn_all_if_stale(self, outboxes: list[Outbox]) -> None:
        for outbox in outboxes:
            self._warn_if_stale(outbox)

    def _warn_if_stale(self, outbox: Outbox) -> None:
        """Tell a follower that the feed is stale, if it is."""
        if self._stale:
            symbol = self.instrument.symbol
            message = f"{symbol} data may be stale. You will be told when updates resume."
            outbox.put(error_text("stale", message, instrument=symbol))

    def _confirm_copy(self) -> None:
        """Note that the copy is right. If it was stale, tell the followers that updates resume.

        Followers of deltas are not told, because they get a snapshot.
        """
        self._confirmed_at = time.monotonic()
        if self._stale:
            self._stale = False
            resumed = encode_json(Resumed(instrument=self.instrument.symbol)).decode()
            for outbox in self._all_outboxes().difference(
                *(audience.all for audience in self._book_audiences())
            ):
                outbox.put(resumed)

    def _all_outboxes(self) -> set[Outbox]:
        audiences = (*self._audiences.values(), *self._orders.values())
        return set[Outbox]().union(*(audience.all for audience in audiences))

    def _advance_copy(self, batch: MarketBatch) -> bool:
        """Bring the copy to the batch's sequence, if it is behind.

        Returns False if that is impossible.
        """
        if batch.sequence <= self._copy.sequence:
            return True
        if batch.previous_sequence != self._copy.sequence:
            return False
        self._copy.apply(batch.levels, batch.sequence)
        return True

    def _start_resync(self) -> None:
        self._current.clear()
        self._snapshots.restart()
        for audience in self._book_audiences():
            audience.restart()
        if self._resync is None:
            self._resync = asyncio.create_task(self._reload_book(), name=f"resync {self.instrument.symbol}")

    async def _reload_book(self) -> None:
        """Read the book until the batches continue it, then serve the followers.

        A book older than the copy comes from a mirror that lags, or from a restored database. It is
        used only after FEED_OLDER_BOOKS_MAX other reads also returned an older book.
        """
        older = 0

        async def read_once() -> bool | None:
            nonlocal older
            book = await read_book(self.instrument)
            older += book.sequence < self._copy.sequence
            is_taken = book.sequence >= self._copy.sequence or older > settings.FEED_OLDER_BOOKS_MAX
            return (is_taken and self._replace_copy(book)) or None

        await attempt_until_done(read_once, f"the book of {self.instrument.symbol}")
        self._resync = None
        self._current.set()
        if time.monotonic() - self._heard_at <= settings.STREAM_STALE_SECONDS:
            self._confirm_copy()
        self._reload_orders_and_trading()
        self._serve_snapshots()
        self._touch_states(BOOK_CHANNELS)

    def _reload_orders_and_trading(self) -> None:
        """Read again the open orders and the tape, which miss the data of lost batches."""
        self._fills.forget()
        for orders in self._orders.values():
            orders.restart()
        for candles in self._candle_audiences():
            candles.restart()
        if self._tape.is_wanted:
            self._tape.read()

    def _replace_copy(self, book: Book) -> bool:
        """Use the book and apply early batches; returns whether they continue the book."""
        early, self._early = self._early, []
        self._copy.replace(book)
        return all(self._advance_copy(batch) for batch in early)

    def _depth_texts(self) -> list[str]:
        return [] if self._copy.sequence < 0 else [depth_text(self.instrument.symbol, self._copy)]

    def _quote_texts(self) -> list[str]:
        return [] if self._copy.sequence < 0 else [quote_text(self.instrument.symbol, self._copy)]

    def _ticker_texts(self) -> list[str]:
        return (
            [] if self._copy.sequence < 0 else [ticker_text(self.instrument.symbol, self._copy, self._tape)]
        )
