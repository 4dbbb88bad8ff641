"""The checks of single orders: what they ask for, what became of them, and what they were filled by."""

from matching.operations.audit.check import DatabaseCheck
from matching.operations.audit.order_history import (
    CHANGES,
    IN_PLACE,
    LIMIT_KINDS,
    MAY_REST,
    ON_REQUEST,
    TAKEN_OFF,
    TRIGGER_KINDS,
)

_RESTS = "placed.status IN ('open', 'partially_filled')"
_WAITS_FIRST = f"placed.type IN {TRIGGER_KINDS}"

TERMS = DatabaseCheck(
    name="terms",
    promise="An order's instrument is known, its numbers are on the grid, and its instructions fit its type.",
    rows="""orders_order AS placed
        LEFT JOIN instruments_instrument AS instrument ON instrument.id = placed.instrument_id""",
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', placed.side, placed.type, trim_scale(placed.quantity), 'at', trim_scale(placed.price),
        'from', trim_scale(placed.trigger_price), placed.time_in_force, placed.expires_at, instrument.symbol)""",
    faults={
        "its instrument is not there": "instrument.id IS NULL",
        "its side is neither buy nor sell": "placed.side NOT IN ('buy', 'sell')",
        "its type is not known": (
            f"placed.type NOT IN {LIMIT_KINDS} AND placed.type NOT IN ('market', 'stop', 'take_profit')"
        ),
        "a limit kind without a price": f"placed.type IN {LIMIT_KINDS} AND placed.price IS NULL",
        "a market kind with a price": f"placed.type NOT IN {LIMIT_KINDS} AND placed.price IS NOT NULL",
        "it waits without a trigger price": f"{_WAITS_FIRST} AND placed.trigger_price IS NULL",
        "it does not wait and has a trigger price": (
            f"NOT {_WAITS_FIRST} AND placed.trigger_price IS NOT NULL"
        ),
        "its price is not above zero": "placed.price <= 0",
        "its trigger price is not above zero": "placed.trigger_price <= 0",
        "its quantity is not above zero": "placed.quantity <= 0",
        "its price is off the grid": "mod(placed.price, instrument.tick_size) <> 0",
        "its trigger price is off the grid": "mod(placed.trigger_price, instrument.tick_size) <> 0",
        "its quantity is off the grid": "mod(placed.quantity, instrument.lot_size) <> 0",
        "its time in force is not known": "placed.time_in_force NOT IN ('gtc', 'ioc', 'fok', 'gtd')",
        "a market kind that is neither ioc nor fok": (
            f"placed.type NOT IN {LIMIT_KINDS} AND placed.time_in_force IN ('gtc', 'gtd')"
        ),
        "gtd without a time": "placed.time_in_force = 'gtd' AND placed.expires_at IS NULL",
        "it expires and is not gtd": "placed.time_in_force <> 'gtd' AND placed.expires_at IS NOT NULL",
        "post-only and may not rest": f"placed.post_only AND NOT {MAY_REST}",
        "its self-trade prevention is not known": (
            "placed.self_trade_prevention "
            "NOT IN ('none', 'cancel_taker', 'cancel_maker', 'cancel_both', 'decrement')"
        ),
    },
)

# These conditions compare an order with what its kind may do, and with where it was when it ended.
_REASONS_ON_ENTRY = (
    "('no_liquidity', 'unfilled_ioc', 'unfilled_fok', 'too_many_trades', 'would_cross', 'too_many_orders', "
    "'too_many_levels')"
)
_REASONS_AFTER_TRIGGER = "('would_cross', 'too_many_orders', 'too_many_levels')"
_REASON_FAULTS = {
    "cancelled without one of a cancel's reasons": (
        "placed.status = 'cancelled' AND (placed.reason IS NULL OR "
        f"placed.reason NOT IN {ON_REQUEST} AND placed.reason NOT IN {_REASONS_ON_ENTRY} "
        "AND placed.reason NOT IN ('expired', 'self_trade'))"
    ),
    "rejected without one of a rejection's reasons": (
        "placed.status = 'rejected' AND coalesce(placed.reason, '') NOT IN ('instrument_halted', "
        "'too_many_orders', 'too_many_levels', 'would_cross', 'would_trigger')"
    ),
    "a reason, but neither cancelled nor rejected": (
        "placed.status NOT IN ('cancelled', 'rejected') AND placed.reason IS NOT NULL"
    ),
    "cancelled by request, but neither resting nor waiting": (
        f"placed.status = 'cancelled' AND (placed.reason IN {ON_REQUEST} AND placed.priority IS NULL "
        f"OR (placed.reason IN {ON_REQUEST} OR placed.reason = 'expired') AND placed.priority < changed.entry)"
    ),
    "expired and not gtd": "placed.reason = 'expired' AND placed.time_in_force <> 'gtd'",
    "expired before its time": "placed.reason = 'expired' AND placed.updated_at < placed.expires_at",
    "expired on arrival, and something is filled": (
        "placed.reason = 'expired' AND placed.priority IS NULL AND placed.filled_quantity <> 0"
    ),
    "cancelled on entry, but resting or waiting": (
        f"placed.status = 'cancelled' AND placed.reason IN {_REASONS_ON_ENTRY} AND {IN_PLACE}"
    ),
    "cancelled on entry, but never triggered": (
        f"placed.status = 'cancelled' AND placed.reason IN {_REASONS_AFTER_TRIGGER} "
        "AND placed.triggered_at IS NULL"
    ),
    "cancelled for no liquidity, but not an ioc market kind": (
        f"placed.reason = 'no_liquidity' AND (placed.type IN {LIMIT_KINDS} OR placed.time_in_force <> 'ioc')"
    ),
    "cancelled as an unfilled ioc, but not an ioc limit kind": (
        "placed.reason = 'unfilled_ioc' "
        f"AND (placed.type NOT IN {LIMIT_KINDS} OR placed.time_in_force <> 'ioc')"
    ),
    "cancelled as an unfilled fok, but not fok": (
        "placed.reason = 'unfilled_fok' AND placed.time_in_force <> 'fok'"
    ),
    "cancelled for too many trades, and has not traded": (
        "placed.reason = 'too_many_trades' AND placed.filled_quantity = 0"
    ),
    "refused because it would cross, but not post-only": (
        "placed.reason = 'would_cross' AND NOT placed.post_only"
    ),
    "refused because it would be triggered, but has no trigger": (
        f"placed.reason = 'would_trigger' AND NOT {_WAITS_FIRST}"
    ),
    "no remainder is left, and not cancelled for a self-trade": (
        "placed.status = 'cancelled' AND placed.reason <> 'self_trade' "
        "AND placed.filled_quantity + placed.prevented_quantity >= placed.quantity"
    ),
}

STATUS = DatabaseCheck(
    name="status",
    promise="An order's status and reason say what happened to it.",
    rows=f"""orders_order AS placed
        LEFT JOIN {CHANGES} AS changed ON changed.order_id = placed.order_id""",
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', placed.type, placed.time_in_force, placed.status, placed.reason,
        'filled', trim_scale(placed.filled_quantity), 'prevented', trim_scale(placed.prevented_quantity),
        'of', trim_scale(placed.quantity), 'priority', coalesce(placed.priority::text, '-'),
        'last entered after', coalesce(changed.entry::text, '-'))""",
    faults={
        "its status is not known": (
            "placed.status NOT IN ('pending', 'open', 'partially_filled', 'filled', 'cancelled', 'rejected')"
        ),
        "pending without a trigger": f"placed.status = 'pending' AND NOT {_WAITS_FIRST}",
        "open and something is filled": "placed.status = 'open' AND placed.filled_quantity <> 0",
        "partially filled and nothing is filled": (
            "placed.status = 'partially_filled' AND placed.filled_quantity <= 0"
        ),
        "rests without a remainder": (
            f"{_RESTS} AND placed.filled_quantity + placed.prevented_quantity >= placed.quantity"
        ),
        "filled and not all is filled": (
            "placed.status = 'filled' AND placed.filled_quantity <> placed.quantity"
        ),
        "cancelled and all is filled": (
            "placed.status = 'cancelled' AND placed.filled_quantity >= placed.quantity"
        ),
        "rejected and something is filled": (
            "placed.status = 'rejected' AND placed.filled_quantity + placed.prevented_quantity <> 0"
        ),
        "rejected after it rested or waited": "placed.status = 'rejected' AND placed.priority IS NOT NULL",
        "rests or waits without a priority": (
            f"(placed.status = 'pending' OR {_RESTS}) AND placed.priority IS NULL"
        ),
        "rests, but has not come to rest since it left its place": (
            f"{_RESTS} AND placed.priority <= changed.entry"
        ),
        "pending, but it has entered the book": (
            "placed.status = 'pending' AND placed.priority <> changed.entry"
        ),
        "it may not rest, but it did": (
            f"NOT {MAY_REST} AND ({_RESTS} OR {IN_PLACE} "
            f"AND (NOT {_WAITS_FIRST} OR placed.triggered_at IS NOT NULL))"
        ),
        "fok and filled in part": (
            "placed.time_in_force = 'fok' AND placed.filled_quantity > 0 "
            "AND placed.filled_quantity < placed.quantity"
        ),
        "filled before it was triggered": (
            f"{_WAITS_FIRST} AND (placed.triggered_at IS NULL OR placed.status = 'pending') "
            "AND placed.filled_quantity + placed.prevented_quantity <> 0"
        ),
        "its trigger is not among its events": (
            "(placed.triggered_at IS NOT NULL) <> coalesce(changed.triggered, false)"
        ),
        **_REASON_FAULTS,
    },
)

_LAST_NUMBERS = "placed.priority, traded.sequence, changed.sequence"

FILLS = DatabaseCheck(
    name="fills",
    promise="An order is filled by exactly its trades, and by no more than its quantity.",
    rows=f"""orders_order AS placed
        LEFT JOIN (
            SELECT order_id, sum(quantity) AS quantity, sum(price * quantity) AS notional, max(sequence) AS sequence
            FROM (
                SELECT maker_order_id AS order_id, price, quantity, sequence FROM orders_trade
                UNION ALL
                SELECT taker_order_id, price, quantity, sequence FROM orders_trade
            ) AS fill
            GROUP BY order_id
        ) AS traded ON traded.order_id = placed.order_id
        LEFT JOIN {CHANGES} AS changed ON changed.order_id = placed.order_id""",  # noqa: S608 - joined from constants only
    subject="'order ' || placed.order_id",
    order="placed.order_id",
    details="""concat_ws(' ', 'filled', trim_scale(placed.filled_quantity), 'of', trim_scale(placed.quantity),
        'for', trim_scale(placed.filled_notional), 'at sequence', placed.sequence, 'by trades of',
        coalesce(trim_scale(traded.quantity), 0), 'for', coalesce(trim_scale(traded.notional), 0),
        'at', coalesce(traded.sequence::text, '-'), 'prevented', trim_scale(placed.prevented_quantity),
        'by events of', coalesce(trim_scale(changed.prevented), 0), 'at', coalesce(changed.sequence::text, '-'))""",
    faults={
        "more is filled and prevented than its quantity": (
            "placed.filled_quantity + placed.prevented_quantity > placed.quantity"
        ),
        "its filled quantity is not the sum of its trades": (
            "placed.filled_quantity <> coalesce(traded.quantity, 0)"
        ),
        "its notional is not the sum of its trades": "placed.filled_notional <> coalesce(traded.notional, 0)",
        "its prevented quantity is not the sum of its events": (
            "placed.prevented_quantity <> coalesce(changed.prevented, 0)"
        ),
        # `greatest` ignores NULL, and is NULL for orders that were never in the book: they pass. A
        # cancel of a remainder, and an amend of the time alone, have no number. They leave the
        # book's sequence of that moment, which is that of the last change or a later one.
        "its sequence is not that of its last change": (
            f"CASE WHEN {TAKEN_OFF} THEN placed.sequence <= greatest({_LAST_NUMBERS}) "
            "WHEN placed.status = 'cancelled' OR (placed.time_in_force = 'gtd' AND placed.status <> 'filled') "
            f"THEN placed.sequence < greatest({_LAST_NUMBERS}) "
            f"ELSE placed.sequence <> greatest({_LAST_NUMBERS}) END"
        ),
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
