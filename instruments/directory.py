"""An API process's copy of the instruments. Requests reload it after INSTRUMENT_CACHE_SECONDS."""

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from django.conf import settings

from base.database import DatabaseReader
from base.loops import ignore_error
from instruments.choices import SelfTradePrevention
from instruments.grid import Grid
from instruments.models import OPEN_ORDERS_MAX, Instrument
from instruments.refusals import InstrumentNotFound

DEFAULT_SYMBOL = "BTC-USD"
HINT_BITS = 12  # the bits of an order's id that name its instrument: see orders/order_ids.py
HINT_MASK = (1 << HINT_BITS) - 1


class TradedInstrument(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of an instrument that are needed to place and cancel orders."""

    instrument_id: int
    symbol: str
    grid: Grid
    min_quantity: Decimal
    max_quantity: Decimal
    min_price: Decimal
    max_price: Decimal
    min_notional: Decimal | None = None  # applies to limit orders
    open_orders_max: int = OPEN_ORDERS_MAX  # the limit for one client
    self_trade_prevention: str = SelfTradePrevention.NONE.value  # of orders that do not say it
    halted: bool
    partition: int


def load_instruments() -> dict[str, TradedInstrument]:
    """Read all instruments from the database. Returns them by symbol."""
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
            self_trade_prevention=row.self_trade_prevention,
            halted=row.status == Instrument.Status.HALTED,
            partition=row.partition,
        )
        for row in Instrument.objects.all()
    }


def instrument_hint(instrument_id: int) -> int:
    """Return the hint of this instrument in the ids of its orders. Instruments may share a hint."""
    return instrument_id & HINT_MASK


# A separate reader: orders wait for the instruments, and must not wait behind other reads.
_read_database = DatabaseReader(
    threads=1,
    places_max=4,
    seconds_max=settings.DATABASE_READ_SECONDS_MAX,
    statement_seconds_max=settings.DATABASE_STATEMENT_SECONDS_MAX,
)


class InstrumentDirectory:
    """A process's copy of the instruments. It stays in use while the database is not answering."""

    def __init__(self) -> None:
        self._instruments: dict[str, TradedInstrument] = {}
        self._by_hint: dict[int, list[TradedInstrument]] = {}
        self._fresh_until = 0.0
        self._loading: asyncio.Task[None] | None = None

    async def all(self) -> dict[str, TradedInstrument]:
        """Return all instruments by symbol.

        Raises Unavailable if there is no copy yet and the database is not answering.
        """
        if not self._is_fresh:
            await self._refresh()
        return self._instruments

    async def get(self, symbol: str) -> TradedInstrument:
        """Return one instrument. Raises InstrumentNotFound, Unavailable."""
        if not self._is_fresh:  # does not call `all`: that would cost a coroutine for each order
            await self._refresh()
        try:
            return self._instruments[symbol]
        except KeyError:
            raise InstrumentNotFound(
                f"No instrument has this symbol: {symbol[:40]!r}. GET /instruments lists them."
            ) from None

    async def with_hint(self, hint: int) -> Sequence[TradedInstrument]:
        """Return the instruments in the current copy whose orders have this hint in their ids.

        Does not wait for a newer copy, because cancels need none. Raises Unavailable if there is no
        copy yet and the database is not answering.
        """
        if not self._instruments:
            await self._refresh()
        elif not self._is_fresh:
            self._fresh_until = time.monotonic() + settings.INSTRUMENT_CACHE_SECONDS
            self._start_loading()
        return self._by_hint.get(hint, ())

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() < self._fresh_until and bool(self._instruments)

    async def _refresh(self) -> None:
        """Load the instruments. All requests that call this share one read.

        If there is a copy, they wait for at most INSTRUMENT_REFRESH_SECONDS.
        """
        loading = self._start_loading()
        await asyncio.wait(
            {loading}, timeout=settings.INSTRUMENT_REFRESH_SECONDS if self._instruments else None
        )
        self._fresh_until = time.monotonic() + settings.INSTRUMENT_CACHE_SECONDS
        if loading.done() and not self._instruments:
            loading.result()

    def _start_loading(self) -> asyncio.Task[None]:
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load(), name="instruments")
            self._loading.add_done_callback(ignore_error)  # the old copy stays in use
        return self._loading

    async def _load(self) -> None:
        """Replace the copy with the instruments in the database. Raises Unavailable."""
        instruments = await _read_database(load_instruments)
        by_hint: dict[int, list[TradedInstrument]] = {}
        for instrument in instruments.values():
            by_hint.setdefault(instrument_hint(instrument.instrument_id), []).append(instrument)
        self._instruments, self._by_hint = instruments, by_hint


directory = InstrumentDirectory()
