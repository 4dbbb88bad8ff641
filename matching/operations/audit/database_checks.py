"""The promises that can be checked by one SQL statement each.

A check has a source of rows, and faults that no row may have. A fault is an SQL condition. A
condition that is NULL is no fault, so if a joined row is missing, only the fault that names the
missing row is reported.
"""

from collections.abc import Mapping
from typing import NamedTuple

from matching.operations.audit.results import BREACHES_LISTED_MAX


class DatabaseCheck(NamedTuple):
    """A promise, and the SQL that finds the rows that break it."""

    name: str
    promise: str
    rows: str  # the FROM clause
    subject: str  # a text expression that identifies the row
    order: str  # the ORDER BY clause
    details: str  # a text expression with the row's relevant values
    faults: Mapping[str, str]  # conditions, by the description of the fault

    def statement(self) -> str:
        """Return a statement that selects the first BREACHES_LISTED_MAX breaches.

        Its columns are the breach's text and the count of all breaches. Its parameters are the keys
        of `faults`.
        """
        faults = ", ".join(f"CASE WHEN {condition} THEN %s END" for condition in self.faults.values())
        found = " OR ".join(f"({condition})" for condition in self.faults.values())
        return (
            f"SELECT concat({self.subject}, ': ', concat_ws(', ', {faults}), ' (', {self.details}, ')') AS breach, "  # noqa: S608 - joined from constants only
            f"count(*) OVER () FROM {self.rows} WHERE {found} ORDER BY {self.order} LIMIT {BREACHES_LISTED_MAX}"
        )


TAKEN_OFF = "('client_request', 'operator')"
"""The reasons of cancels that take a resting order off the book."""

_SYMBOL = "coalesce(instrument.symbol, 'instrument ' || {table}.instrument_id)"

TERMS = DatabaseCheck(
    name="terms",
    promise="An order's instrument is known, and its price and quantity are on the grid.",
    rows="""orders_order AS placed
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = placed.instrument_id""",
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', placed.side, placed.type, trim_scale(placed.quantity), 'at', trim_scale(placed.price),
        instrument.symbol)""",
    faults={
        "its instrument is not there": "instrument.id IS NULL",
        "its side is neither buy nor sell": "placed.side NOT IN ('buy', 'sell')",
        "its type is neither limit nor market": "placed.type NOT IN ('limit', 'market')",
        "a limit order without a price": "placed.type = 'limit' AND placed.price IS NULL",
        "a market order with a price": "placed.type = 'market' AND placed.price IS NOT NULL",
        "its price is not above zero": "placed.price <= 0",
        "its quantity is not above zero": "placed.quantity <= 0",
        "its price is off the grid": "mod(placed.price, instrument.tick_size) <> 0",
        "its quantity is off the grid": "mod(placed.quantity, instrument.lot_size) <> 0",
    },
)

STATUS = DatabaseCheck(
    name="status",
    promise="An order's status and reason say what happened to it.",
    rows="orders_order AS placed",
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', placed.type, placed.status, placed.reason,
        'filled', trim_scale(placed.filled_quantity), 'of', trim_scale(placed.quantity),
        'priority', coalesce(placed.priority::text, '-'))""",
    faults={
        "its status is not known": (
            "placed.status NOT IN ('open', 'partially_filled', 'filled', 'cancelled', 'rejected')"
        ),
        "open and something is filled": "placed.status = 'open' AND placed.filled_quantity <> 0",
        "partially filled and nothing or all is filled": (
            "placed.status = 'partially_filled' "
            "AND (placed.filled_quantity <= 0 OR placed.filled_quantity >= placed.quantity)"
        ),
        "filled and not all is filled": (
            "placed.status = 'filled' AND placed.filled_quantity <> placed.quantity"
        ),
        "cancelled and all is filled": (
            "placed.status = 'cancelled' AND placed.filled_quantity >= placed.quantity"
        ),
        "rejected and something is filled": "placed.status = 'rejected' AND placed.filled_quantity <> 0",
        "rests without a priority": (
            "placed.status IN ('open', 'partially_filled') AND placed.priority IS NULL"
        ),
        "a market order that rested": "placed.type = 'market' AND placed.priority IS NOT NULL",
        "rejected after it rested": "placed.status = 'rejected' AND placed.priority IS NOT NULL",
        "cancelled for no liquidity, but not a market order": (
            "placed.status = 'cancelled' AND placed.reason = 'no_liquidity' AND placed.type <> 'market'"
        ),
        "cancelled for too many trades, and it rested or has not traded": (
            "placed.status = 'cancelled' AND placed.reason = 'too_many_trades' "
            "AND (placed.priority IS NOT NULL OR placed.filled_quantity = 0)"
        ),
        "cancelled by request before it rested": (
            f"placed.status = 'cancelled' AND placed.reason IN {TAKEN_OFF} AND placed.priority IS NULL"
        ),
        "cancelled without one of a cancel's reasons": (
            "placed.status = 'cancelled' "
            "AND coalesce(placed.reason, '') "
            "NOT IN ('client_request', 'operator', 'no_liquidity', 'too_many_trades')"
        ),
        "rejected without one of a rejection's reasons": (
            "placed.status = 'rejected' AND coalesce(placed.reason, '') "
            "NOT IN ('instrument_halted', 'too_many_orders', 'too_many_levels')"
        ),
        "a reason, but neither cancelled nor rejected": (
            "placed.status NOT IN ('cancelled', 'rejected') AND placed.reason IS NOT NULL"
        ),
    },
)

FILLS = DatabaseCheck(
    name="fills",
    promise="An order is filled by exactly its trades, and by no more than its quantity.",
    rows="""orders_order AS placed
        LEFT JOIN (
            SELECT order_id, sum(quantity) AS quantity, sum(price * quantity) AS notional, max(sequence) AS sequence
            FROM (
                SELECT maker_order_id AS order_id, price, quantity, sequence FROM orders_trade
                UNION ALL
                SELECT taker_order_id, price, quantity, sequence FROM orders_trade
            ) AS fill
            GROUP BY order_id
        ) AS traded ON traded.order_id = placed.order_id""",
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', 'filled', trim_scale(placed.filled_quantity), 'of', trim_scale(placed.quantity),
        'for', trim_scale(placed.filled_notional), 'at sequence', placed.sequence, 'by trades of',
        coalesce(trim_scale(traded.quantity), 0), 'for', coalesce(trim_scale(traded.notional), 0),
        'at', coalesce(traded.sequence::text, '-'))""",
    faults={
        "more is filled than its quantity": "placed.filled_quantity > placed.quantity",
        "its filled quantity is not the sum of its trades": (
            "placed.filled_quantity <> coalesce(traded.quantity, 0)"
        ),
        "its notional is not the sum of its trades": "placed.filled_notional <> coalesce(traded.notional, 0)",
        # `greatest` ignores NULL, and is NULL for orders that neither traded nor rested: they pass.
        "its sequence is not that of its last change": (
            f"CASE WHEN placed.status = 'cancelled' AND placed.reason IN {TAKEN_OFF} "
            "THEN placed.sequence <= greatest(placed.priority, traded.sequence) "
            "ELSE placed.sequence <> greatest(placed.priority, traded.sequence) END"
        ),
    },
)

TRADES = DatabaseCheck(
    name="trades",
    promise="A trade is at the maker's price, between opposite orders of one instrument.",
    rows="""orders_trade AS trade
        LEFT JOIN orders_order AS maker ON maker.order_id = trade.maker_order_id
        LEFT JOIN orders_order AS taker ON taker.order_id = trade.taker_order_id
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = trade.instrument_id
        LEFT JOIN matching_prunedhistory AS pruned ON pruned.instrument_id = trade.instrument_id""",
    subject="'trade ' || trade.trade_id",
    order="trade.instrument_id, trade.sequence",
    details="""concat_ws(' ', instrument.symbol, 'sequence', trade.sequence, 'taker', trade.taker_side,
        trim_scale(trade.quantity), 'at', trim_scale(trade.price))""",
    faults={
        "its instrument is not there": "instrument.id IS NULL",
        "its maker is not there": (
            "maker.order_id IS NULL AND trade.sequence > coalesce(pruned.sequence, 0)"
        ),
        "its taker is not there": (
            "taker.order_id IS NULL AND trade.sequence > coalesce(pruned.sequence, 0)"
        ),
        "its orders are on one side": "maker.side = taker.side",
        "its taker_side is not the taker's": "trade.taker_side <> taker.side",
        "its maker is of another instrument": "maker.instrument_id <> trade.instrument_id",
        "its taker is of another instrument": "taker.instrument_id <> trade.instrument_id",
        "its price is not the maker's": (
            "maker.order_id IS NOT NULL AND trade.price IS DISTINCT FROM maker.price"
        ),
        "its price is worse than the taker's limit": (
            "CASE taker.side WHEN 'buy' THEN trade.price > taker.price ELSE trade.price < taker.price END"
        ),
        "its maker did not rest before it": (
            "maker.order_id IS NOT NULL AND coalesce(maker.priority, trade.sequence) >= trade.sequence"
        ),
        "its taker rested before it": "taker.priority <= trade.sequence",
        "its price is not above zero": "trade.price <= 0",
        "its quantity is not above zero": "trade.quantity <= 0",
        "its price is off the grid": "mod(trade.price, instrument.tick_size) <> 0",
        "its quantity is off the grid": "mod(trade.quantity, instrument.lot_size) <> 0",
    },
)

# A book's sequence grows by one with each trade, each order that rests and each cancel of a resting
# order. A row with sequence 0 for each instrument shows gaps at the beginning, even if the
# instrument has no event. Gaps up to the sequence of the pruned history are intended.
SEQUENCES = DatabaseCheck(
    name="sequences",
    promise="Each number of a book's sequence is one trade, one new resting order or one cancel.",
    rows=f"""(
            SELECT event.instrument_id, event.sequence, coalesce(book.sequence, 0) AS last,
                lead(event.sequence, 1, coalesce(book.sequence, 0) + 1)
                    OVER (PARTITION BY event.instrument_id ORDER BY event.sequence) AS next
            FROM (
                SELECT id AS instrument_id, 0 AS sequence FROM instruments_instrument
                UNION ALL
                SELECT instrument_id, sequence FROM orders_trade
                UNION ALL
                SELECT instrument_id, priority FROM orders_order WHERE priority IS NOT NULL
                UNION ALL
                SELECT instrument_id, sequence FROM orders_order
                WHERE status = 'cancelled' AND reason IN {TAKEN_OFF}
            ) AS event
            LEFT JOIN marketdata_booksequence AS book ON book.instrument_id = event.instrument_id
        ) AS event
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = event.instrument_id
        LEFT JOIN matching_prunedhistory AS pruned ON pruned.instrument_id = event.instrument_id""",  # noqa: S608 - joined from constants only
    subject=f"concat({_SYMBOL.format(table='event')}, ' sequence ', event.sequence)",
    order="event.instrument_id, event.sequence",
    details="concat('the next is ', event.next, ', the book is at ', event.last)",
    faults={
        "used twice": "event.next = event.sequence",
        "above the book's": "event.sequence > event.last",
        "a gap before the next": (
            "event.next > event.sequence + 1 AND event.next > coalesce(pruned.sequence, 0) + 1"
        ),
    },
)

CANDLES = DatabaseCheck(
    name="candles",
    promise="A minute with trades has the candle of these trades. Other minutes have none.",
    # Only minutes with all their trades are checked. The first and the last trade are found by
    # arrays of (sequence, price), which PostgreSQL compares element by element.
    rows="""(
            SELECT instrument_id, date_trunc('minute', timestamp) AS time,
                (min(ARRAY[sequence, price]))[2] AS open, max(price) AS high, min(price) AS low,
                (max(ARRAY[sequence, price]))[2] AS close, sum(quantity) AS volume,
                sum(price * quantity) AS notional, count(*) AS trade_count
            FROM orders_trade
            GROUP BY 1, 2
        ) AS traded
        FULL JOIN marketdata_candle AS candle
            ON candle.instrument_id = traded.instrument_id AND candle.time = traded.time
        LEFT JOIN instruments_instrument AS instrument
            ON instrument.id = coalesce(traded.instrument_id, candle.instrument_id)
        LEFT JOIN matching_prunedhistory AS pruned
            ON pruned.instrument_id = coalesce(traded.instrument_id, candle.instrument_id)
            AND coalesce(traded.time, candle.time) <= pruned.time""",
    subject="""concat('candle ', instrument.symbol, ' ',
        to_char(coalesce(traded.time, candle.time) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'))""",
    order="instrument.symbol, coalesce(traded.time, candle.time)",
    details="""concat_ws(' ', 'candle', trim_scale(candle.open), trim_scale(candle.high), trim_scale(candle.low),
        trim_scale(candle.close), trim_scale(candle.volume), trim_scale(candle.notional), candle.trade_count,
        'trades', trim_scale(traded.open), trim_scale(traded.high), trim_scale(traded.low),
        trim_scale(traded.close), trim_scale(traded.volume), trim_scale(traded.notional), traded.trade_count)""",
    faults={
        fault: f"pruned.instrument_id IS NULL AND {condition}"
        for fault, condition in {
            "it is not there": "candle.id IS NULL",
            "there are no trades": "traded.instrument_id IS NULL",
            "open is not the first trade's price": "candle.open <> traded.open",
            "high is not the highest price": "candle.high <> traded.high",
            "low is not the lowest price": "candle.low <> traded.low",
            "close is not the last trade's price": "candle.close <> traded.close",
            "volume is not the trades'": "candle.volume <> traded.volume",
            "notional is not the trades'": "candle.notional <> traded.notional",
            "trade_count is not the trades'": "candle.trade_count <> traded.trade_count",
        }.items()
    },
)

IDEMPOTENCY = DatabaseCheck(
    name="idempotency",
    promise="A client has at most one order with an idempotency key.",
    rows="""(
            SELECT client_id, idempotency_key, count(*) AS orders
            FROM orders_order
            WHERE idempotency_key IS NOT NULL
            GROUP BY 1, 2
        ) AS used""",
    subject="concat('client ', used.client_id, ' key ', used.idempotency_key)",
    order="used.client_id, used.idempotency_key",
    details="concat(used.orders, ' orders')",
    faults={"used more than once": "used.orders > 1"},
)

CROSSED = DatabaseCheck(
    name="crossed",
    promise="A book's best bid is below its best ask.",
    rows="""(
            SELECT instrument_id, max(price) FILTER (WHERE side = 'buy') AS bid,
                min(price) FILTER (WHERE side = 'sell') AS ask
            FROM orders_order
            WHERE status IN ('open', 'partially_filled')
            GROUP BY 1
        ) AS best
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = best.instrument_id""",
    subject=_SYMBOL.format(table="best"),
    order="best.instrument_id",
    details="concat_ws(' ', 'bid', trim_scale(best.bid), 'ask', trim_scale(best.ask))",
    faults={"crossed": "best.bid >= best.ask"},
)

# A partition that no worker has ever matched has no checkpoint, but its books have not moved
# either.
CHECKPOINTS = DatabaseCheck(
    name="checkpoints",
    promise="A partition whose books have moved has a checkpoint.",
    rows="""(
            SELECT instrument.partition, string_agg(instrument.symbol, ' ' ORDER BY instrument.symbol) AS symbols
            FROM marketdata_booksequence AS book
            JOIN instruments_instrument AS instrument ON instrument.id = book.instrument_id
            GROUP BY 1
        ) AS moved
        LEFT JOIN matching_checkpoint AS checkpoint ON checkpoint.partition = moved.partition""",
    subject="'partition ' || moved.partition",
    order="moved.partition",
    details="moved.symbols",
    faults={"its checkpoint is not there": "checkpoint.partition IS NULL"},
)

DATABASE_CHECKS = (TERMS, STATUS, FILLS, TRADES, SEQUENCES, CANDLES, IDEMPOTENCY, CROSSED, CHECKPOINTS)
