"""The books that a worker holds in memory, and how they follow the database's instruments."""

import logging
import time

from django.conf import settings

from base.loops import loop_seconds
from base.outages import Outage
from matching.batch.market_book import MarketBook, PartitionState
from matching.publish.publisher import Publisher
from matching.worker.lease_keeper import LeaseKeeper
from matching.worker.partition_store import PartitionStore

logger = logging.getLogger(__name__)


class LiveBooks:
    """A partition's books, by symbol. They are valid only while the lease is held.

    The methods raise the errors of the store and of the publisher.
    """

    def __init__(
        self,
        partition: int,
        *,
        store: PartitionStore,
        lease: LeaseKeeper,
        publisher: Publisher,
        outage: Outage,
    ) -> None:
        self.state = PartitionState()
        self._partition = partition
        self._store = store
        self._lease = lease
        self._publisher = publisher
        self._outage = outage  # of the database
        self._reload_due = 0.0  # loop time

    @property
    def by_symbol(self) -> dict[str, MarketBook]:
        """The books, by symbol."""
        return self.state.books

    async def load(self) -> None:
        """Load all books from the database."""
        started = time.perf_counter()
        async with self._lease.renewing():
            self.state = await self._store.load()
        self._outage.ended()
        logger.info(
            "partition %d: epoch %d, position %s, %d orders in %d books loaded in %.2f s",
            self._partition,
            self._lease.held.epoch,
            self._lease.held.position,
            sum(len(market.book) + market.book.waiting_count for market in self.by_symbol.values()),
            len(self.by_symbol),
            time.perf_counter() - started,
        )

    async def reload_instruments(self) -> None:
        """Apply changed instruments, load added books, and drop books that left the partition."""
        instruments = {
            symbol: instrument
            for symbol, instrument in (await self._store.load_instruments()).items()
            if instrument.partition == self._partition
        }
        for symbol in self.by_symbol.keys() - instruments.keys():
            logger.info("partition %d: %s has left this partition", self._partition, symbol)
            del self.by_symbol[symbol]
        added = instruments.keys() - self.by_symbol.keys()
        if added:  # new instruments, or instruments that moved here with their resting orders
            async with self._lease.renewing():
                books = await self._store.load_books(added, self.state.deadlines)
                self.by_symbol.update(books)
                for market in books.values():
                    self.state.note_triggered(market)
                await self._publisher.prepare(books.values(), self._lease.held.epoch)
        for symbol, market in self.by_symbol.items():
            market.instrument = instruments.get(symbol, market.instrument)
        self._reload_due = loop_seconds() + settings.INSTRUMENT_CACHE_SECONDS

    async def reload_instruments_if_due(self) -> None:
        """Reload instruments that are older than INSTRUMENT_CACHE_SECONDS."""
        if loop_seconds() >= self._reload_due:
            await self.reload_instruments()
