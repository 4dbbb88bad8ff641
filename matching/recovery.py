"""Loads the books from the database, for a worker's start and for the command `recover`.

Resting and waiting orders are read in time priority through a server-side cursor. Apart from the
books, only two chunks of rows are in memory: one is put back while the next one is read.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection

from base.database import snapshot
from base.times import unix_milliseconds
from instruments.directory import load_instruments
from marketdata.models import BookSequence
from matching.batch.commands import place_order
from matching.batch.deadlines import Deadlines, Expiry
from matching.batch.deferred import ties_of
from matching.batch.guards import Guard
from matching.batch.market_book import MarketBook, PartitionState
from matching.engine import OrderBook
from matching.models import DeferredCommand
from orders.messages import decode_command
from orders.models import LIVE_STATUSES, RESTING_STATUSES, CancelAfter, ConnectionGuard, Order, OrderStatus

ROWS_PER_CHUNK = 10_000

Progress = Callable[[int], None]


_PENDING = OrderStatus.PENDING.value
_LIVE_SQL = """
SELECT live.order_id::text, live.client_id, live.side, live.type, live.status, live.time_in_force, live.post_only,
       live.self_trade_prevention, live.expires_at, live.triggered_at IS NOT NULL, live.priority, instrument.symbol,
       div(live.price, instrument.tick_size)::bigint, div(live.trigger_price, instrument.tick_size)::bigint,
       div(live.quantity, instrument.lot_size)::bigint,
       div(live.quantity - live.filled_quantity - live.prevented_quantity, instrument.lot_size)::bigint,
       mod(coalesce(live.price, 0), instrument.tick_size) = 0
         AND mod(coalesce(live.trigger_price, 0), instrument.tick_size) = 0
         AND mod(live.quantity, instrument.lot_size) = 0
         AND mod(live.filled_quantity + live.prevented_quantity, instrument.lot_size) = 0
FROM orders_order live JOIN instruments_instrument instrument ON instrument.id = live.instrument_id
WHERE live.status = ANY(%s) AND instrument.id = ANY(%s)
ORDER BY live.instrument_id, live.priority
"""
# The command prune may have deleted the last trade. Then the last candle, which stays, has its
# price.
_LAST_PRICES_SQL = """
SELECT instrument.symbol, div(coalesce(
  (SELECT price FROM orders_trade WHERE instrument_id = instrument.id ORDER BY sequence DESC LIMIT 1),
  (SELECT close FROM marketdata_candle WHERE instrument_id = instrument.id ORDER BY time DESC LIMIT 1)
), instrument.tick_size)::bigint
FROM instruments_instrument AS instrument
"""


def count_live_orders(partition: int) -> int:
    """Return the number of resting and waiting orders."""
    return Order.objects.filter(status__in=LIVE_STATUSES, instrument__partition=partition).count()


def load_books(
    partition: int,
    *,
    symbols: Collection[str] | None = None,
    deadlines: Deadlines | None = None,
    progress: Progress | None = None,
) -> dict[str, MarketBook]:
    """Return the books of a partition as of one moment, by symbol: all, or only `symbols`.

    The expiries of their orders are added to `deadlines`. `progress` is called with the number of
    orders in each chunk.

    Raises ValueError if the live orders are not a valid book: an order is off the grid, crosses
    another one, or has nothing left to fill.
    """
    with snapshot():
        sequences = dict(BookSequence.objects.values_list("instrument__symbol", "sequence"))
        with connection.cursor() as cursor:
            cursor.execute(_LAST_PRICES_SQL)
            last_prices = dict(cursor.fetchall())
        books = {
            symbol: MarketBook(
                instrument,
                OrderBook(sequence=sequences.get(symbol, 0), last_price_ticks=last_prices.get(symbol)),
            )
            for symbol, instrument in load_instruments().items()
            if instrument.partition == partition and (symbols is None or symbol in symbols)
        }
        # Resting orders have an index that is sorted in this way. Waiting orders are sorted here.
        for statuses in (RESTING_STATUSES, (OrderStatus.PENDING,)):
            with connection.chunked_cursor() as cursor, ThreadPoolExecutor(1) as reader:
                instrument_ids = [market.instrument.instrument_id for market in books.values()]
                cursor.execute(_LIVE_SQL, [[str(status) for status in statuses], instrument_ids])
                client_ids: dict[str, str] = {}  # keeps one string for each client, not for each order
                coming = reader.submit(cursor.fetchmany, ROWS_PER_CHUNK)
                while rows := coming.result():
                    coming = reader.submit(cursor.fetchmany, ROWS_PER_CHUNK)
                    for row in rows:
                        _restore(row, books, client_ids, deadlines)
                    if progress is not None:
                        progress(len(rows))
    return books


def load_partition(partition: int) -> PartitionState:
    """Return the state of a partition: everything that a worker keeps in memory.

    Raises ValueError as `load_books` does, and msgspec.DecodeError for a deferred command of a
    later version.
    """
    state = PartitionState()
    state.books = load_books(partition, deadlines=state.deadlines)
    _load_switches(partition, state.deadlines)
    for guard in ConnectionGuard.objects.filter(partition=partition).order_by("pk"):
        state.guards.set(str(guard.connection_id), Guard(guard.process_id, tuple(guard.client_ids)))
    for market in state.books.values():
        state.note_triggered(market)
    for deferred in DeferredCommand.objects.filter(partition=partition).order_by("number"):
        command = decode_command(bytes(deferred.payload))
        state.deferred.add(command, ties_of(command, state), deferred.number)
    return state


def _load_switches(partition: int, deadlines: Deadlines) -> None:
    """Add the dead man's switches of a partition."""
    for switch in CancelAfter.objects.filter(partition=partition):
        deadlines.set_switch(switch.client_id, unix_milliseconds(switch.cancel_at))


def _restore(
    row: tuple[Any, ...],
    books: dict[str, MarketBook],
    client_ids: dict[str, str],
    deadlines: Deadlines | None,
) -> None:
    """Put the order of a row of `_LIVE_SQL` back."""
    (
        order_id,
        client_id,
        side,
        order_type,
        status,
        time_in_force,
        post_only,
        self_trade_prevention,
        expires_at,
        is_triggered,
        priority,
        symbol,
        price_ticks,
        trigger_price_ticks,
        quantity_lots,
        remaining_lots,
        is_on_grid,
    ) = row
    if not is_on_grid:
        raise ValueError(f"order_id={order_id}: off the grid of {symbol}")
    order = place_order(
        order_id=order_id,
        client_id=client_ids.setdefault(client_id, client_id),
        side=side,
        order_type=order_type,
        price_ticks=price_ticks or 0,
        quantity_lots=quantity_lots,
        time_in_force=time_in_force,
        post_only=post_only,
        self_trade_prevention=self_trade_prevention,
        trigger_price_ticks=trigger_price_ticks or 0,
    )
    if status == _PENDING:
        books[symbol].restore_waiting(order, is_triggered=is_triggered)
    else:
        books[symbol].restore(order, remaining_lots)
    if deadlines is not None and expires_at is not None:
        deadlines.set_expiry(Expiry(unix_milliseconds(expires_at), priority, symbol, order_id))
