"""Ways to spoil an honest database: the words in which the faults of the audit are caused.

The statements expect a database without constraints, and the flow of
`tests/matching/operations/honest.py`. Some promises overlap, so that a fault breaks others too.
`also` names the other checks that must find the fault. No further check may find it.
"""

from typing import NamedTuple


class Tampering(NamedTuple):
    """The statements that cause one fault. Each of them must change a row."""

    check: str
    fault: str
    statements: tuple[str, ...]
    also: tuple[str, ...] = ()


BTC = "(SELECT id FROM instruments_instrument WHERE symbol = 'BTC-USD')"
ETH = "(SELECT id FROM instruments_instrument WHERE symbol = 'ETH-USD')"
UNKNOWN = "999999"

# Conditions that select plain orders of one kind in BTC-USD.
OPEN = "status = 'open'"
PARTIAL = "status = 'partially_filled'"
MAKER = "status = 'filled' AND priority IS NOT NULL"
TAKER = "status = 'filled' AND priority IS NULL AND type = 'limit'"
MARKET = "status = 'filled' AND type = 'market'"
TAKEN_OFF = "reason = 'client_request' AND filled_quantity = 0"
NO_LIQUIDITY = "reason = 'no_liquidity' AND filled_quantity = 0"
REJECTED = "status = 'rejected'"


def one(kind: str, first: str = "sequence, order_id") -> str:
    """Return a subquery for the id of one order of BTC-USD."""
    return (
        f"(SELECT order_id FROM orders_order WHERE {kind} AND instrument_id = {BTC} ORDER BY {first} LIMIT 1)"
    )


def named(name: str) -> str:
    """Return a subquery for the id of an order of the scenes in SOL-USD."""
    return f"(SELECT order_id FROM orders_order WHERE idempotency_key = '{name}')"


def order(kind: str, change: str) -> tuple[str]:
    return (f"UPDATE orders_order SET {change} WHERE order_id = {one(kind)}",)


def scene(name: str, change: str) -> tuple[str]:
    """Change an order of the scenes."""
    return (f"UPDATE orders_order SET {change} WHERE order_id = {named(name)}",)


def event(name: str, kind: str, change: str) -> tuple[str]:
    """Change the first event of a kind of an order of the scenes."""
    first = (
        f"(SELECT min(sequence) FROM orders_orderevent WHERE order_id = {named(name)} AND kind = '{kind}')"
    )
    return (f"UPDATE orders_orderevent SET {change} WHERE order_id = {named(name)} AND sequence = {first}",)


def trade(change: str) -> tuple[str]:
    first = f"(SELECT min(sequence) FROM orders_trade WHERE instrument_id = {BTC})"
    return (f"UPDATE orders_trade SET {change} WHERE instrument_id = {BTC} AND sequence = {first}",)


def candle(change: str) -> tuple[str]:
    return (f"UPDATE marketdata_candle SET {change} WHERE id = (SELECT min(id) FROM marketdata_candle)",)


def book(change: str) -> tuple[str]:
    return (f"UPDATE marketdata_booksequence SET sequence = sequence {change} WHERE instrument_id = {BTC}",)


def hand_over_priority(giver: str, taker: str) -> tuple[str]:
    """Give the giver's priority to the taker, so that the sequence still has no gap."""
    return (
        f"WITH giver AS (SELECT order_id, priority FROM orders_order WHERE order_id = {one(giver)}) "
        "UPDATE orders_order AS changed "
        "SET priority = CASE WHEN changed.order_id <> giver.order_id THEN giver.priority END, "
        "sequence = CASE WHEN changed.order_id <> giver.order_id THEN giver.priority ELSE changed.sequence END "
        f"FROM giver WHERE changed.order_id IN (giver.order_id, {one(taker)})",
    )


def swap_priorities(first: str, second: str) -> tuple[str, str]:
    """Swap the priorities of two orders, and make the orders' sequences fit."""
    return (
        f"WITH pair AS (SELECT order_id, priority FROM orders_order WHERE order_id IN ({first}, {second})) "
        "UPDATE orders_order AS changed SET priority = other.priority FROM pair AS other "
        f"WHERE changed.order_id IN ({first}, {second}) AND other.order_id <> changed.order_id",
        "UPDATE orders_order SET sequence = greatest(priority, (SELECT max(trade.sequence) FROM orders_trade "
        "AS trade WHERE order_id IN (maker_order_id, taker_order_id))) "
        f"WHERE status IN ('open', 'partially_filled', 'filled') AND instrument_id = {BTC}",
    )


def swap_with_event(name: str, kind: str) -> tuple[str, str]:
    """Swap an event's sequence with the priority that its order got from the next number."""
    return (
        f"UPDATE orders_orderevent SET sequence = sequence + 1 WHERE order_id = {named(name)} AND kind = '{kind}'",
        f"UPDATE orders_order SET priority = priority - 1 WHERE order_id = {named(name)}",
    )
