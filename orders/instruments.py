"""The instruments as an API process knows them: read again when older than INSTRUMENT_CACHE_SECONDS."""

import asyncio
import time
from decimal import Decimal

import msgspec
from django.conf import settings

from orders.grid import Grid
from orders.models import OPEN_ORDERS_MAX, Instrument
from rest.database import read_database
from rest.exceptions import NotFound, Unavailable

DEFAULT_SYMBOL = "BTC-USD"


class TradedInstrument(msgspec.Struct, frozen=True, kw_only=True):
    """What the order path needs of an instrument."""

    instrument_id: int
    symbol: str
    grid: Grid
    min_quantity: Decimal
    max_quantity: Decimal
    min_price: Decimal
    max_price: Decimal
    min_notional: Decimal | None = None  # of a limit order
    open_orders_max: int = OPEN_ORDERS_MAX  # of one client
    halted: bool
    partition: int


def load_instruments() -> dict[str, TradedInstrument]:
    """All instruments of the database, by symbol."""
    return {
        row.symbol: TradedInstrument(
            instrument_id=row.pk,
            symbol=row.symbol,
            grid=row.grid,
            min_quantity=row.min_quantity,
            max_quantity=row.max_quantity,
            min_price=row.min_price,
            max_price=row.max_price,
            min_notional=row.min_notional,
            open_orders_max=row.open_orders_max,
            halted=row.status == Instrument.Status.HALTED,
            partition=row.partition,
        )
        for row in Instrument.objects.all()
    }


class InstrumentDirectory:
    """A process's copy of the instruments. Where the database is away, the copy serves on."""

    def __init__(self) -> None:
        self._instruments: dict[str, TradedInstrument] = {}
        self._fresh_until = 0.0
        self._loading: asyncio.Task[dict[str, TradedInstrument]] | None = None

    async def all(self) -> dict[str, TradedInstrument]:
        """Raises Unavailable where there is no copy yet and the database is not answering."""
        if not self._is_fresh:
            await self._refresh()
        return self._instruments

    async def get(self, symbol: str) -> TradedInstrument:
        """Raises NotFound, Unavailable."""
        if not self._is_fresh:  # as `all`, without a coroutine more for each order
            await self._refresh()
        try:
            return self._instruments[symbol]
        except KeyError:
            raise NotFound(
                f"No instrument has this symbol: {symbol[:40]!r}. GET /instruments lists them."
            ) from None

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() < self._fresh_until and bool(self._instruments)

    async def _refresh(self) -> None:
        """One read however many requests wait for it; where there is a copy, they do not wait for long."""
        if self._loading is None:
            self._loading = asyncio.create_task(read_database(load_instruments))
        loading = self._loading
        await asyncio.wait(
            {loading}, timeout=settings.INSTRUMENT_REFRESH_SECONDS if self._instruments else None
        )
        self._fresh_until = time.monotonic() + settings.INSTRUMENT_CACHE_SECONDS
        if not loading.done():
            return
        if self._loading is loading:
            self._loading = None
        try:
            self._instruments = loading.result()
        except Unavailable:
            if not self._instruments:
                raise


directory = InstrumentDirectory()
