"""The checks of what happened in a book: its trades, the events of its orders, and its sequence."""

from matching.operations.audit.check import SYMBOL, DatabaseCheck
from matching.operations.audit.order_history import CHANGES, MAY_REST, TAKEN_OFF, TRIGGER_KINDS, join_phase

_MAKER_PRIORITY = "coalesce(maker_phase.priority, maker.priority)"
_TAKER_PRIORITY = "coalesce(taker_phase.priority, taker.priority)"
_MAKER_PRICE = "coalesce(maker_phase.price, maker.price)"
_TAKER_PRICE = "coalesce(taker_phase.price, taker.price)"

TRADES = DatabaseCheck(
    name="trades",
    promise="A trade is at the maker's price, between opposite orders of one instrument, of which one rested.",
    rows=f"""orders_trade AS trade
        LEFT JOIN orders_order AS maker ON maker.order_id = trade.maker_order_id
        LEFT JOIN orders_order AS taker ON taker.order_id = trade.taker_order_id
        {join_phase("maker_phase", "trade.maker_order_id", "trade.sequence")}
        {join_phase("taker_phase", "trade.taker_order_id", "trade.sequence")}
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
        "its maker's client is another": "trade.maker_client_id <> maker.client_id",
        "its taker's client is another": "trade.taker_client_id <> taker.client_id",
        "its taker prevents self-trades": (
            "maker.client_id = taker.client_id AND taker.self_trade_prevention <> 'none'"
        ),
        "its taker is post-only": "taker.post_only",
        "its price is not the maker's": (
            f"maker.order_id IS NOT NULL AND trade.price IS DISTINCT FROM {_MAKER_PRICE}"
        ),
        "its price is worse than the taker's limit": (
            f"CASE taker.side WHEN 'buy' THEN trade.price > {_TAKER_PRICE} "
            f"WHEN 'sell' THEN trade.price < {_TAKER_PRICE} END"
        ),
        # An order that waits for its trigger has a priority, too, but is not in the book.
        "its maker did not rest before it": (
            f"maker.order_id IS NOT NULL AND (coalesce({_MAKER_PRIORITY}, trade.sequence) >= trade.sequence "
            f"OR {_MAKER_PRIORITY} <= maker_phase.beginning OR maker_phase.kind = 'triggered')"
        ),
        "its taker rested before it": (
            f"taker.order_id IS NOT NULL AND {_TAKER_PRIORITY} > coalesce(taker_phase.beginning, 0) "
            f"AND {_TAKER_PRIORITY} <= trade.sequence"
        ),
        "its price is not above zero": "trade.price <= 0",
        "its quantity is not above zero": "trade.quantity <= 0",
        "its price is off the grid": "mod(trade.price, instrument.tick_size) <> 0",
        "its quantity is off the grid": "mod(trade.quantity, instrument.lot_size) <> 0",
    },
)

_PRICES_STAY = "(event.price, event.trigger_price) IS NOT DISTINCT FROM (after.price, after.trigger_price)"
# A trade that meets the trigger is sought from the event backwards, so it is found near the event.
# If trades may have been pruned since the order began to wait, none may be left.
_NO_TRADE_MET_IT = """
event.kind = 'triggered' AND event.priority >= coalesce(pruned.sequence, 0) AND NOT EXISTS (
    SELECT FROM orders_trade AS trade
    WHERE trade.instrument_id = event.instrument_id
        AND trade.sequence > event.priority AND trade.sequence < event.sequence
        AND CASE WHEN (placed.type IN ('stop', 'stop_limit')) = (placed.side = 'buy')
            THEN trade.price >= event.trigger_price ELSE trade.price <= event.trigger_price END
    ORDER BY trade.sequence DESC LIMIT 1
)"""

EVENTS = DatabaseCheck(
    name="events",
    promise="An order's events lead from what it was to what it is.",
    rows="""(
            SELECT *, lead(sequence) OVER following AS next_sequence, lead(price) OVER following AS next_price,
                lead(quantity) OVER following AS next_quantity,
                lead(trigger_price) OVER following AS next_trigger_price
            FROM orders_orderevent
            WINDOW following AS (PARTITION BY order_id ORDER BY sequence)
        ) AS event
        LEFT JOIN orders_order AS placed ON placed.order_id = event.order_id
        LEFT JOIN orders_order AS taker ON taker.order_id = event.taker_order_id
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = event.instrument_id
        LEFT JOIN matching_prunedhistory AS pruned ON pruned.instrument_id = event.instrument_id
        CROSS JOIN LATERAL (
            SELECT CASE WHEN next_sequence IS NULL THEN placed.price ELSE next_price END AS price,
                CASE WHEN next_sequence IS NULL THEN placed.quantity ELSE next_quantity END AS quantity,
                CASE WHEN next_sequence IS NULL THEN placed.trigger_price ELSE next_trigger_price END
                    AS trigger_price
        ) AS after""",
    subject="concat('event ', event.id, ' of order ', event.order_id)",
    order="event.instrument_id, event.sequence",
    details="""concat_ws(' ', instrument.symbol, 'sequence', event.sequence, event.kind, trim_scale(event.quantity),
        'at', trim_scale(event.price), 'from', trim_scale(event.trigger_price), 'then', trim_scale(after.quantity),
        'at', trim_scale(after.price), 'from', trim_scale(after.trigger_price))""",
    faults={
        "its instrument is not there": "instrument.id IS NULL",
        "its order is not there": (
            "placed.order_id IS NULL AND event.sequence > coalesce(pruned.sequence, 0)"
        ),
        "its order is of another instrument": "placed.instrument_id <> event.instrument_id",
        "its kind is not known": (
            "event.kind NOT IN ('withdrawn', 'reduced', 'amended', 'triggered', 'prevented')"
        ),
        "its order may not rest": (f"event.kind IN ('withdrawn', 'reduced', 'prevented') AND NOT {MAY_REST}"),
        "its order has no trigger": (
            f"event.kind IN ('amended', 'triggered') AND placed.type NOT IN {TRIGGER_KINDS}"
        ),
        "its order had no place before it": (
            "event.kind IN ('withdrawn', 'triggered') AND event.priority IS NULL "
            "OR event.priority >= event.sequence"
        ),
        "it kept its place, and has another one": (
            "event.kind IN ('reduced', 'prevented') AND event.priority IS NOT NULL"
        ),
        "it was reduced to no less": "event.kind = 'reduced' AND after.quantity >= event.quantity",
        "it was withdrawn without need": (
            "event.kind = 'withdrawn' AND after.price = event.price AND after.quantity <= event.quantity"
        ),
        "its order's numbers changed with it": (
            f"placed.order_id IS NOT NULL AND (event.kind = 'reduced' AND NOT {_PRICES_STAY} "
            "OR event.kind IN ('triggered', 'prevented') "
            f"AND NOT ({_PRICES_STAY} AND event.quantity = after.quantity) "
            "OR event.kind = 'withdrawn' AND event.trigger_price IS DISTINCT FROM after.trigger_price)"
        ),
        "a number of it is off the grid": (
            "mod(event.price, instrument.tick_size) <> 0 OR mod(event.trigger_price, instrument.tick_size) <> 0 "
            "OR mod(event.quantity, instrument.lot_size) <> 0 "
            "OR mod(event.prevented_quantity, instrument.lot_size) <> 0"
        ),
        "no trade triggered it": _NO_TRADE_MET_IT,
        "a prevented match without its taker or quantity": (
            "event.kind = 'prevented' AND (event.taker_order_id IS NULL OR event.prevented_quantity IS NULL "
            "OR event.prevented_quantity <= 0)"
        ),
        "a taker or a quantity, but no prevented match": (
            "event.kind <> 'prevented' "
            "AND (event.taker_order_id IS NOT NULL OR event.prevented_quantity IS NOT NULL)"
        ),
        "its taker is not there": (
            "event.taker_order_id IS NOT NULL AND taker.order_id IS NULL "
            "AND event.sequence > coalesce(pruned.sequence, 0)"
        ),
        "its taker could not meet it": (
            "taker.client_id <> placed.client_id OR taker.side = placed.side "
            "OR taker.instrument_id <> event.instrument_id"
        ),
        "its taker does not decrement": "taker.self_trade_prevention <> 'decrement'",
    },
)

# The order is given for numbers that an order's own row and events may share: an amended order that
# did not rest again has the priority that its event tells, and a triggered order has its event's
# sequence as priority. A row with sequence 0 for each instrument shows gaps at the beginning, even
# if nothing has happened. Gaps up to the sequence of the pruned history are intended.
_NUMBERS = f"""
    SELECT id AS instrument_id, 0 AS sequence, NULL::uuid AS order_id FROM instruments_instrument
    UNION ALL
    SELECT instrument_id, sequence, NULL FROM orders_trade
    UNION ALL
    SELECT instrument_id, priority, order_id FROM orders_order WHERE priority IS NOT NULL
    UNION ALL
    SELECT instrument_id, sequence, order_id FROM orders_orderevent
    UNION ALL
    SELECT instrument_id, priority, order_id FROM orders_orderevent WHERE priority IS NOT NULL
    UNION ALL
    SELECT placed.instrument_id, placed.sequence, NULL
    FROM orders_order AS placed LEFT JOIN {CHANGES} AS changed ON changed.order_id = placed.order_id
    WHERE {TAKEN_OFF}
"""  # noqa: S608 - joined from constants only

# A book's sequence grows by one with each trade, each order that comes to rest or to wait, each
# order that is taken off, and each event of an order.
SEQUENCES = DatabaseCheck(
    name="sequences",
    promise="Each number of a book's sequence is one trade, one order that rests or waits, one event, one cancel.",
    rows=f"""(
            SELECT number.instrument_id, number.sequence, number.order_id, coalesce(book.sequence, 0) AS last,
                lead(number.sequence, 1, coalesce(book.sequence, 0) + 1) OVER in_order AS next,
                lead(number.order_id) OVER in_order AS next_order_id
            FROM ({_NUMBERS}) AS number
            LEFT JOIN marketdata_booksequence AS book ON book.instrument_id = number.instrument_id
            WINDOW in_order AS (PARTITION BY number.instrument_id ORDER BY number.sequence, number.order_id)
        ) AS number
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = number.instrument_id
        LEFT JOIN matching_prunedhistory AS pruned ON pruned.instrument_id = number.instrument_id""",  # noqa: S608 - joined from constants only
    subject=f"concat({SYMBOL.format(table='number')}, ' sequence ', number.sequence)",
    order="number.instrument_id, number.sequence",
    details="concat('the next is ', number.next, ', the book is at ', number.last)",
    faults={
        "used twice": (
            "number.next = number.sequence "
            "AND (number.order_id IS NULL OR number.order_id IS DISTINCT FROM number.next_order_id)"
        ),
        "above the book's": "number.sequence > number.last",
        "a gap before the next": (
            "number.next > number.sequence + 1 AND number.next > coalesce(pruned.sequence, 0) + 1"
        ),
    },
)
