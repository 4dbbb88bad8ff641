"""What the checks know about the history of an order, as SQL.

A row of orders_order shows an order as it is now, and each of its events shows it as it was before
the event. An order leaves its place to enter the book if an amend withdraws it, or if it has been
triggered. The time between two such events is a phase: in each phase it may trade as a taker, and
then come to rest once, with a priority of its own.
"""

LIMIT_KINDS = "('limit', 'stop_limit', 'take_profit_limit')"
TRIGGER_KINDS = "('stop', 'take_profit', 'stop_limit', 'take_profit_limit')"

MAY_REST = f"(placed.type IN {LIMIT_KINDS} AND placed.time_in_force IN ('gtc', 'gtd'))"
"""Whether an order may rest: the part that does not trade at once stays in the book."""

ON_REQUEST = "('client_request', 'operator', 'cancel_after', 'disconnected')"
"""The reasons of cancels that take a resting or waiting order off. So does `expired`, as a rule."""

_LEAVES_ITS_PLACE = "kind IN ('withdrawn', 'triggered')"

# A prevented match is an event of two orders.
CHANGES = f"""(
    SELECT order_id, max(sequence) AS sequence, max(sequence) FILTER (WHERE {_LEAVES_ITS_PLACE}) AS entry,
        bool_or(kind = 'triggered') AS triggered, sum(prevented_quantity) AS prevented
    FROM (
        SELECT order_id, sequence, kind, prevented_quantity FROM orders_orderevent
        UNION ALL
        SELECT taker_order_id, sequence, 'met', prevented_quantity FROM orders_orderevent
        WHERE taker_order_id IS NOT NULL
    ) AS event
    GROUP BY order_id
)"""  # noqa: S608 - joined from constants only
"""A row for each order with events.

`sequence` is the last event's, and `entry` that of the last event with which the order left its
place.
"""

IN_PLACE = "coalesce(placed.priority > coalesce(changed.entry, 0), false)"
"""Whether an order rests or waits, or did so when it ended. A triggered order waits no more."""

# An expired order without a priority expired when it arrived. Self-trade prevention takes a maker
# off at a number of its own, unless the number belongs to the event that used the order up. It ends
# a taker without a number.
TAKEN_OFF = f"""(
    placed.status = 'cancelled' AND (
        placed.reason IN {ON_REQUEST}
        OR (placed.reason = 'expired' AND placed.priority IS NOT NULL)
        OR (placed.reason = 'self_trade' AND {IN_PLACE}
            AND placed.filled_quantity + placed.prevented_quantity < placed.quantity)
    )
)"""
"""Whether an order was taken off by a cancel that has a number of the book's sequence."""

PHASES = f"""(
    SELECT order_id, kind, price, priority,
        coalesce(lag(sequence) OVER (PARTITION BY order_id ORDER BY sequence), 0) AS beginning, sequence AS ending
    FROM orders_orderevent
    WHERE {_LEAVES_ITS_PLACE}
    UNION ALL
    SELECT placed.order_id, NULL, placed.price, placed.priority, last.sequence, NULL
    FROM (
        SELECT order_id, max(sequence) AS sequence FROM orders_orderevent WHERE {_LEAVES_ITS_PLACE} GROUP BY 1
    ) AS last
    JOIN orders_order AS placed ON placed.order_id = last.order_id
)"""  # noqa: S608 - joined from constants only
"""The phases of all orders that have left their place. `kind` is that of the event at the end."""


def join_phase(alias: str, order_id: str, sequence: str) -> str:
    """Return a join of the phase in which an order was at a sequence, if the order has phases."""
    return f"""LEFT JOIN {PHASES} AS {alias} ON {alias}.order_id = {order_id}
            AND {alias}.beginning < {sequence} AND ({alias}.ending IS NULL OR {sequence} < {alias}.ending)"""
