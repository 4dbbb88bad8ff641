"""Ways to spoil an honest database, at least one for each fault that the audit knows.

They expect a database without constraints, and the flow of
`tests/matching/operations/test_audit.py`, which leaves orders of every kind in BTC-USD. Some
promises overlap, so that a fault breaks others too. `also` names the other checks that must find
the fault. No further check may find it.
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

# Conditions that select orders of one kind.
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


def order(kind: str, change: str) -> tuple[str]:
    return (f"UPDATE orders_order SET {change} WHERE order_id = {one(kind)}",)


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
        "WHERE status IN ('open', 'partially_filled', 'filled')",
    )


TAMPERINGS = (
    Tampering("terms", "its instrument is not there", order(REJECTED, f"instrument_id = {UNKNOWN}")),
    Tampering("terms", "its side is neither buy nor sell", order(REJECTED, "side = 'hold'")),
    Tampering("terms", "its type is neither limit nor market", order(REJECTED, "type = 'stop'")),
    Tampering("terms", "a limit order without a price", order(REJECTED, "price = NULL")),
    Tampering("terms", "a market order with a price", order(NO_LIQUIDITY, "price = 9")),
    Tampering("terms", "its price is not above zero", order(REJECTED, "price = -price")),
    Tampering("terms", "its quantity is not above zero", order(REJECTED, "quantity = 0")),
    Tampering("terms", "its price is off the grid", order(REJECTED, "price = price + 0.001")),
    Tampering("terms", "its quantity is off the grid", order(REJECTED, "quantity = quantity + 0.000000001")),
    Tampering("status", "its status is not known", order(REJECTED, "status = 'lost'")),
    Tampering("status", "open and something is filled", order(PARTIAL, "status = 'open'")),
    Tampering(
        "status", "partially filled and nothing or all is filled", order(OPEN, "status = 'partially_filled'")
    ),
    Tampering("status", "filled and not all is filled", order(PARTIAL, "status = 'filled'")),
    Tampering(
        "status",
        "cancelled and all is filled",
        order(MARKET, "status = 'cancelled', reason = 'no_liquidity'"),
    ),
    Tampering(
        "status",
        "rejected and something is filled",
        order(TAKER, "status = 'rejected', reason = 'instrument_halted'"),
    ),
    Tampering("status", "rests without a priority", hand_over_priority(OPEN, REJECTED)),
    Tampering("status", "a market order that rested", order(TAKEN_OFF, "type = 'market', price = NULL")),
    Tampering("status", "rejected after it rested", hand_over_priority(OPEN, REJECTED)),
    Tampering(
        "status",
        "cancelled for no liquidity, but not a market order",
        order(NO_LIQUIDITY, "type = 'limit', price = 9"),
    ),
    Tampering(
        "status",
        "cancelled for too many trades, and it rested or has not traded",
        order(NO_LIQUIDITY, "reason = 'too_many_trades'"),
    ),
    Tampering("status", "cancelled by request before it rested", hand_over_priority(TAKEN_OFF, REJECTED)),
    Tampering("status", "cancelled without one of a cancel's reasons", order(NO_LIQUIDITY, "reason = NULL")),
    Tampering(
        "status",
        "rejected without one of a rejection's reasons",
        order(REJECTED, "reason = 'no_liquidity'"),
    ),
    Tampering(
        "status", "a reason, but neither cancelled nor rejected", order(OPEN, "reason = 'instrument_halted'")
    ),
    Tampering(
        "fills",
        "more is filled than its quantity",
        order(TAKER, "quantity = 0.00000001"),
        also=("status",),
    ),
    Tampering(
        "fills",
        "its filled quantity is not the sum of its trades",
        order(TAKEN_OFF, "filled_quantity = quantity / 2"),
    ),
    Tampering(
        "fills",
        "its notional is not the sum of its trades",
        order(TAKER, "filled_notional = filled_notional + 1"),
    ),
    Tampering(
        "fills", "its sequence is not that of its last change", order(TAKER, "sequence = sequence - 1")
    ),
    Tampering(
        "trades",
        "its instrument is not there",
        trade(f"instrument_id = {UNKNOWN}"),
        also=("sequences", "candles"),
    ),
    Tampering(
        "trades", "its maker is not there", order(MAKER, "order_id = gen_random_uuid()"), also=("fills",)
    ),
    Tampering(
        "trades", "its taker is not there", (f"DELETE FROM orders_order WHERE order_id = {one(TAKER)}",)
    ),
    Tampering(
        "trades",
        "its orders are on one side",
        order(MARKET, "side = CASE side WHEN 'buy' THEN 'sell' ELSE 'buy' END"),
    ),
    Tampering(
        "trades",
        "its taker_side is not the taker's",
        trade("taker_side = CASE taker_side WHEN 'buy' THEN 'sell' ELSE 'buy' END"),
    ),
    Tampering(
        "trades",
        "its maker is of another instrument",
        order(MAKER, f"instrument_id = {ETH}"),
        also=("sequences",),
    ),
    Tampering("trades", "its taker is of another instrument", order(TAKER, f"instrument_id = {ETH}")),
    Tampering("trades", "its price is not the maker's", order(MAKER, "price = price + 1")),
    Tampering(
        "trades",
        "its price is worse than the taker's limit",
        order(TAKER, "price = CASE side WHEN 'buy' THEN 0.01 ELSE 1000 END"),
    ),
    Tampering(
        "trades",
        "its maker did not rest before it",
        swap_priorities(one(MAKER), one(OPEN, "priority DESC")),
    ),
    Tampering(
        "trades",
        "its taker rested before it",
        swap_priorities(
            one(f"{PARTIAL} AND order_id IN (SELECT taker_order_id FROM orders_trade)"),
            one(OPEN, "priority"),
        ),
    ),
    Tampering("trades", "its price is not above zero", trade("price = 0"), also=("fills", "candles")),
    Tampering("trades", "its quantity is not above zero", trade("quantity = 0"), also=("fills", "candles")),
    Tampering(
        "trades", "its price is off the grid", trade("price = price + 0.001"), also=("fills", "candles")
    ),
    Tampering(
        "trades",
        "its quantity is off the grid",
        trade("quantity = quantity + 0.000000001"),
        also=("fills", "candles"),
    ),
    Tampering("sequences", "used twice", order(OPEN, "priority = priority - 1, sequence = sequence - 1")),
    Tampering("sequences", "above the book's", book("- 1")),
    Tampering("sequences", "a gap before the next", book("+ 1")),
    Tampering(
        "sequences",
        "a gap before the next",
        (f"DELETE FROM orders_order WHERE order_id = {one(TAKEN_OFF)}",),
    ),
    Tampering("candles", "it is not there", ("DELETE FROM marketdata_candle WHERE instrument_id = " + ETH,)),
    Tampering("candles", "there are no trades", candle("time = time - interval '1 day'")),
    Tampering("candles", "open is not the first trade's price", candle("open = open + 0.01")),
    Tampering("candles", "high is not the highest price", candle("high = high + 0.01")),
    Tampering("candles", "low is not the lowest price", candle("low = low - 0.01")),
    Tampering("candles", "close is not the last trade's price", candle("close = close + 0.01")),
    Tampering("candles", "volume is not the trades'", candle("volume = volume + 1")),
    Tampering("candles", "notional is not the trades'", candle("notional = notional - 1")),
    Tampering("candles", "trade_count is not the trades'", candle("trade_count = trade_count + 1")),
    Tampering(
        "idempotency",
        "used more than once",
        ("UPDATE orders_order SET idempotency_key = 'key' WHERE status = 'rejected'",),
    ),
    Tampering("crossed", "crossed", order(f"{OPEN} AND side = 'buy'", "price = 1000")),
    Tampering("checkpoints", "its checkpoint is not there", ("DELETE FROM matching_checkpoint",)),
)
