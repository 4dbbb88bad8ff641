"""One instrument's feed in one API process: copies of its book and of its day, and who wants what of them.

The copy makes subscribing free of races: a snapshot is taken from the copy, and deltas from the same sequence on
follow it. A client gets it when it has room for it: a client that follows many large books gets them as fast as it
reads. The copy itself starts from the mirror and follows the batches of the Channels group. A batch that does not
continue it means that one was lost: the copy is read again, and every follower of the book gets a fresh snapshot.
The same happens if the worker's checksum, which comes with its heartbeats, is not the copy's.

If no batch has agreed with the copy for STREAM_STALE_SECONDS, then worker or Redis are away, or the database was
restored to an earlier state: the followers are told that the feed is stale, and with the next batch the copy is
read again.
"""

import asyncio
import logging
import time
from collections.abc import Iterator

import msgspec
from django.conf import settings

from marketdata import metrics
from marketdata.book import Book, read_book
from marketdata.messages import MarketBatch, Minute, Resumed, error_text
from marketdata.stream.attempts import attempt_until_done
from marketdata.stream.audiences import Audience, StateAudience
from marketdata.stream.book_audience import BookAudience
from marketdata.stream.book_copy import BookCopy
from marketdata.stream.candle_audience import CandleAudience
from marketdata.stream.orders_audience import OrdersAudience
from marketdata.stream.outbox import Outbox
from marketdata.stream.packet import packets_of
from marketdata.stream.snapshots import BookSnapshots
from marketdata.stream.states import depth_text, ticker_text
from marketdata.stream.tape import Tape
from marketdata.stream.topics import Channel, Topic
from orders.documents import order_update
from orders.instruments import TradedInstrument
from rest.encoding import encode_json
from rest.exceptions import Unavailable

logger = logging.getLogger(__name__)

OF_THE_BOOK = (Channel.ORDERBOOK_DELTAS, Channel.DEPTH, Channel.TICKER)
OF_THE_DAY = (Channel.CANDLES, Channel.TICKER)


class Feed:
    """Followers of an instrument by topic, and what they share."""

    def __init__(self, instrument: TradedInstrument) -> None:
        self.instrument = instrument
        self._audiences: dict[Topic, Audience] = {}  # of all channels but orders
        self._orders: dict[Topic, OrdersAudience] = {}  # one a client: there may be thousands
        self._copy = BookCopy(instrument.grid)
        self._tape = Tape(instrument, on_read=lambda: self._touch(OF_THE_DAY))
        self._current = asyncio.Event()  # set while the copy follows the batches
        self._early: list[MarketBatch] = []  # arrived while the copy is being read
        self._resync: asyncio.Task[None] | None = None
        self._sequence = -1  # of the last batch, while nobody has asked for the book
        self._heard_at = time.monotonic()  # the last batch
        self._confirmed_at = time.monotonic()  # when a batch last agreed with what was known
        self._stale = False  # the followers were told so
        self._snapshots = BookSnapshots(instrument.symbol, self._copy, self._books, self._warn_all)
        self._refuted_sequence = -1  # at which the worker's checksum was not the copy's

    async def follow(self, topic: Topic, outbox: Outbox) -> None:
        """Send the state, where the topic has one, as soon as there is room for it, then what follows it.

        Raises Unavailable where that can't be read within STREAM_BOOK_SECONDS_MAX.
        """
        try:
            async with asyncio.timeout(settings.STREAM_BOOK_SECONDS_MAX):
                await self._prepare(topic)
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
        audience.join(outbox)
        if isinstance(audience, BookAudience):
            self._catch_up()
        else:
            self._warn(outbox)

    async def _follow_orders(self, topic: Topic, outbox: Outbox) -> None:
        audience = self._orders.get(topic)
        if audience is None:
            audience = self._orders[topic] = OrdersAudience(self.instrument, topic.client_id)
        audience.join(outbox)
        self._warn(outbox)
        await audience.joined()
        if self._sequence < 0:
            self._sequence = (
                audience.sequence
            )  # a batch that is lost before the first that is heard is missed too

    def unfollow(self, topic: Topic, outbox: Outbox) -> None:
        audience = self._audiences.get(topic) or self._orders.get(topic)
        if audience is not None:
            audience.leave(outbox)
            if not audience.all:
                audience.close()
                self._audiences.pop(topic, None)
                self._orders.pop(topic, None)

    def on_batch(self, batch: MarketBatch) -> None:
        """One message of the worker, in order; some may be missing."""
        for _ in self.take(batch):
            pass

    def take(self, batch: MarketBatch) -> Iterator[None]:
        """The same in steps of a bounded amount of work, which end before the next batch is taken.

        Trades come first, then order updates, then what the book has of them.
        """
        self._heard_at = time.monotonic()
        if trades := self._audiences.get(Topic(Channel.TRADES)):
            for packet in packets_of(batch.trades):
                trades.send(packet)
                yield
        if self._orders:
            for start in range(0, len(batch.orders), settings.FEED_UPDATES_AT_ONCE):
                self._on_updates(batch, batch.orders[start : start + settings.FEED_UPDATES_AT_ONCE])
                yield
        if batch.minute is not None:
            self._on_minute(batch.minute)
        if self._resync is not None:
            self._early.append(msgspec.structs.replace(batch, trades=[], orders=[]))
            del self._early[: -settings.FEED_EARLY_BATCHES_MAX]
        elif self._copy.sequence < 0:  # nobody has asked for the book yet
            self._follow_without_a_book(batch)
        elif self._stale:
            logger.info("%s: word of the book again: it is read again", self.instrument.symbol)
            self._start_resync()
        else:
            self._follow_on(batch)
        if batch.minute is not None:
            self._touch(OF_THE_DAY)  # last: a ticker is of the book too

    def _on_updates(self, batch: MarketBatch, updates: list[tuple[str, int, bytes]]) -> None:
        """Some of a batch's order updates, in order."""
        texts: dict[Topic, list[str]] = {}
        for client_id, sequence, state in updates:
            topic = Topic(Channel.ORDERS, client_id=client_id)
            if topic in self._orders:
                texts.setdefault(topic, []).append(order_update(state, sequence))
        for topic, some in texts.items():
            self._orders[topic].on_updates(batch, some)

    def _on_minute(self, minute: Minute) -> None:
        for candles in self._candles():
            candles.before_minute(minute)
        self._tape.on_minute(minute)

    def on_tick(self) -> None:
        """To be called every now and then.

        Tells the followers, once, if no batch has confirmed the copy for STREAM_STALE_SECONDS.
        """
        self._snapshots.on_tick()
        self._catch_up()
        for candles in self._candles():
            candles.on_tick()
        for orders in self._orders.values():
            orders.catch_up()
        if not self._stale and time.monotonic() - self._confirmed_at > settings.STREAM_STALE_SECONDS:
            self._stale = True
            logger.warning("%s: no word of the book: it may be stale", self.instrument.symbol)
            for outbox in self._everyone():
                self._warn(outbox)

    async def _prepare(self, topic: Topic) -> None:
        """Have what the topic is made of."""
        if topic.channel in OF_THE_BOOK:
            if self._copy.sequence < 0:
                self._start_resync()
            await self._current.wait()
        if topic.channel in OF_THE_DAY:
            if not self._tape.is_wanted:
                self._tape.read()
            await self._tape.known.wait()

    def _make_audience(self, topic: Topic) -> Audience:
        throttle_seconds = topic.throttle_milliseconds / 1000
        match topic.channel:
            case Channel.ORDERBOOK_DELTAS:
                return BookAudience(throttle_seconds, self.instrument.symbol, self._copy)
            case Channel.TICKER:
                return StateAudience(max(throttle_seconds, settings.STREAM_TICKER_SECONDS), self._ticker)
            case Channel.DEPTH:
                return StateAudience(max(throttle_seconds, settings.STREAM_DEPTH_SECONDS), self._depth)
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

    def _follow_without_a_book(self, batch: MarketBatch) -> None:
        """If batches are missing, orders and trading are read again."""
        if batch.sequence < self._sequence and not self._stale:
            return  # as in _follow_on
        continues = self._sequence in (-1, batch.previous_sequence, batch.sequence)
        if not continues:
            metrics.gaps.inc()
            logger.info("%s: batches are missing before %d", self.instrument.symbol, batch.sequence)
        if not continues or self._stale:
            self._read_what_batches_bear()
        self._sequence = batch.sequence
        self._confirm()

    def _follow_on(self, batch: MarketBatch) -> None:
        before = self._copy.sequence
        if batch.sequence < before:
            return  # earlier ones say nothing; where only they come, the sequence went back
        known = self._copy.known(batch.levels)
        if not self._advance(batch):
            self._lose(f"batch from {batch.previous_sequence} to {batch.sequence} does not continue {before}")
        elif batch.checksum not in (None, self._copy.checksum()) and self._refuted_sequence != before:
            self._refuted_sequence = before  # once: a mirror that is wrong stays so until the book moves
            self._lose(f"the copy at {before} is not the worker's book")
        else:
            self._confirm()
            if batch.sequence > before:
                for audience in self._books():
                    audience.on_changes(batch, known)
                self._touch(OF_THE_BOOK)

    def _lose(self, what: str) -> None:
        metrics.gaps.inc()
        logger.info("%s: %s: the book is read again", self.instrument.symbol, what)
        self._start_resync()

    def _books(self) -> list[BookAudience]:
        return [audience for audience in self._audiences.values() if isinstance(audience, BookAudience)]

    def _candles(self) -> list[CandleAudience]:
        return [audience for audience in self._audiences.values() if isinstance(audience, CandleAudience)]

    def _touch(self, channels: tuple[Channel, ...]) -> None:
        for topic, audience in self._audiences.items():
            if topic.channel in channels and isinstance(audience, StateAudience):
                audience.touch()

    def _catch_up(self) -> None:
        """Snapshots for followers of the book that wait for one and have room."""
        if self._current.is_set():
            self._snapshots.serve()

    def _warn_all(self, outboxes: list[Outbox]) -> None:
        for outbox in outboxes:
            self._warn(outbox)

    def _warn(self, outbox: Outbox) -> None:
        """Tell a follower if the feed is stale."""
        if self._stale:
            symbol = self.instrument.symbol
            message = f"{symbol} data may be stale. You will be told when updates resume."
            outbox.put(error_text("stale", message, instrument=symbol))

    def _confirm(self) -> None:
        """The copy is right. If it was stale, followers that get no snapshot of the book are told."""
        self._confirmed_at = time.monotonic()
        if self._stale:
            self._stale = False
            resumed = encode_json(Resumed(instrument=self.instrument.symbol)).decode()
            for outbox in self._everyone().difference(*(audience.all for audience in self._books())):
                outbox.put(resumed)

    def _everyone(self) -> set[Outbox]:
        audiences = (*self._audiences.values(), *self._orders.values())
        return set[Outbox]().union(*(audience.all for audience in audiences))

    def _advance(self, batch: MarketBatch) -> bool:
        """Bring the copy to the batch's sequence, unless it is there already; False if that can't be done."""
        if batch.sequence <= self._copy.sequence:
            return True
        if batch.previous_sequence != self._copy.sequence or not batch.levels:
            return False
        self._copy.apply(batch.levels, batch.sequence)
        return True

    def _start_resync(self) -> None:
        self._current.clear()
        self._snapshots.restart()
        for audience in self._books():
            audience.restart()
        if self._resync is None:
            self._resync = asyncio.create_task(self._read_again(), name=f"resync {self.instrument.symbol}")

    async def _read_again(self) -> None:
        """Read the book until it joins the batches, then tell the followers.

        A book that is older than the copy comes from a mirror that lags, or from a database that was restored:
        it is taken if it stays so.
        """
        older = 0

        async def read_once() -> bool | None:
            nonlocal older
            book = await read_book(self.instrument)
            older += book.sequence < self._copy.sequence
            is_taken = book.sequence >= self._copy.sequence or older > settings.FEED_OLDER_BOOKS_MAX
            return (is_taken and self._join(book)) or None

        await attempt_until_done(read_once, f"the book of {self.instrument.symbol}")
        self._resync = None
        self._current.set()
        if time.monotonic() - self._heard_at <= settings.STREAM_STALE_SECONDS:
            self._confirm()
        self._read_what_batches_bear()
        self._catch_up()
        self._touch(OF_THE_BOOK)

    def _read_what_batches_bear(self) -> None:
        """Beside the book."""
        for orders in self._orders.values():
            orders.restart()
        for candles in self._candles():
            candles.restart()
        if self._tape.is_wanted:
            self._tape.read()

    def _join(self, book: Book) -> bool:
        """Take the book, and the early batches after it; False if they do not continue it."""
        early, self._early = self._early, []
        self._copy.replace(book)
        return all(self._advance(batch) for batch in early)

    def _depth(self) -> list[str]:
        return [] if self._copy.sequence < 0 else [depth_text(self.instrument.symbol, self._copy)]

    def _ticker(self) -> list[str]:
        return (
            [] if self._copy.sequence < 0 else [ticker_text(self.instrument.symbol, self._copy, self._tape)]
        )
