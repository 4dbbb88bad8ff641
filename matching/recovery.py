"""Loads the books from the database, for a worker's start and for the command `recover`.

Resting orders are read in time priority through a server-side cursor. Apart from the books, only
one chunk of rows is in memory.
"""

from collections.abc import Callable, Collection

from django.db import connection

from base.database import snapshot
from instruments.directory import load_instruments
from marketdata.models import BookSequence
from matching.batch.market_book import MarketBook
from matching.engine import OrderBook, Side
from orders.models import RESTING_STATUSES, Order, OrderSide

ROWS_PER_CHUNK = 10_000

Progress = Callable[[int], None]


_RESTING_SQL = """
SELECT resting.order_id::text, resting.client_id, resting.side, instrument.symbol,
       div(resting.price, instrument.tick_size)::bigint,
       div(resting.quantity - resting.filled_quantity, instrument.lot_size)::bigint,
       mod(resting.price, instrument.tick_size) = 0
         AND mod(resting.quantity - resting.filled_quantity, instrument.lot_size) = 0
FROM orders_order resting JOIN instruments_instrument instrument ON instrument.id = resting.instrument_id
WHERE resting.status = ANY(%s) AND instrument.id = ANY(%s)
ORDER BY resting.instrument_id, resting.priority
"""


def count_resting_orders(partition: int) -> int:
    return Order.objects.filter(status__in=RESTING_STATUSES, instrument__partition=partition).count()


def load_books(
    partition: int, *, symbols: Collection[str] | None = None, progress: Progress | None = None
) -> dict[str, MarketBook]:
    """Return the books of a partition as of one moment, by symbol: all, or only `symbols`.

    `progress` is called with the number of orders in each chunk.

    Raises ValueError if the resting orders are not a valid book: an order is off the grid, crosses
    another one, or has nothing left to fill.
    """
    with snapshot():
        sequences = dict(BookSequence.objects.values_list("instrument__symbol", "sequence"))
        books = {
            symbol: MarketBook(instrument, OrderBook(sequence=sequences.get(symbol, 0)))
            for symbol, instrument in load_instruments().items()
            if instrument.partition == partition and (symbols is None or symbol in symbols)
        }
        with connection.chunked_cursor() as cursor:
            instrument_ids = [market.instrument.instrument_id for market in books.values()]
            cursor.execute(_RESTING_SQL, [[str(status) for status in RESTING_STATUSES], instrument_ids])
            client_ids: dict[str, str] = {}  # keeps one string for each client, not for each order
            while rows := cursor.fetchmany(ROWS_PER_CHUNK):
                for order_id, client_id, side, symbol, price_ticks, remaining_lots, on_grid in rows:
                    if not on_grid:
                        raise ValueError(f"order_id={order_id}: off the grid of {symbol}")
                    books[symbol].restore(
                        order_id=order_id,
                        client_id=client_ids.setdefault(client_id, client_id),
                        side=Side.BUY if side == OrderSide.BUY else Side.SELL,
                        price_ticks=price_ticks,
                        remaining_lots=remaining_lots,
                    )
                if progress is not None:
                    progress(len(rows))
    return books
