"""Whether the promises were kept, asked of what is in the database and what clients were told."""

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from django.conf import settings

from tests.simulation.clients import Told
from tests.simulation.database import Database, Row
from tests.simulation.processes import document


class Breach(AssertionError):
    """A promise was broken."""


def require(kept: object, message: str) -> None:
    if not kept:
        raise Breach(message)


def check_told(told: Told, database: Database) -> None:
    """Every acknowledged order, fill and cancel is there, once; nothing refused as not taken is there."""
    by_key: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for order in told.acknowledged:
        check_acknowledged(order, database)
        if order["idempotency_key"] is not None:
            by_key[order["client_id"], order["idempotency_key"]].add(order["order_id"])
    for row in database.orders.values():
        if row.idempotency_key is not None:
            by_key[row.client_id, row.idempotency_key].add(row.order_id)
        require(row.client_id not in told.refused_clients, f"{row.client_id}: refused, and placed")
    for key, order_ids in by_key.items():
        require(len(order_ids) == 1, f"key {key} has placed {len(order_ids)} orders")
    for order_id in told.cancelled:
        require(database.orders[order_id].status == "cancelled", f"{order_id}: its cancel is lost")


def check_acknowledged(order: dict[str, Any], database: Database) -> None:
    """What a client was told of an order is committed."""
    row = database.orders.get(order["order_id"])
    require(row is not None, f"{order['order_id']}: acknowledged, and not in the database")
    assert row is not None
    for name in ("client_id", "side", "type", "price", "quantity", "idempotency_key"):
        require(getattr(row, name) == order[name], f"{row.order_id}: {name} changed")
    require(row.filled_quantity >= order["filled_quantity"], f"{row.order_id}: fills are lost")
    stored = {
        (fill.trade_id, Decimal(bytes(fill.price).decode()), Decimal(bytes(fill.quantity).decode()))
        for fill in document(row).trades
    }
    told = {(fill["trade_id"], fill["price"], fill["quantity"]) for fill in order["trades"]}
    require(told <= stored, f"{row.order_id}: trades are lost or changed")


def check_database(database: Database) -> None:
    """Fills sum, and every book is what price-time priority makes of its orders, without a gap."""
    trade_ids = Counter(trade.trade_id for trade in database.trades)
    require(all(count == 1 for count in trade_ids.values()), "a trade stands twice")
    for row in database.orders.values():
        lots = sum(trade.event.quantity_lots for trade in row.trades)
        require(lots == row.filled_lots <= row.quantity_lots, f"{row.order_id}: fills do not sum")
        taken = sum(trade.event.taker_order_id == row.order_id for trade in row.trades)
        require(taken <= settings.ORDER_TRADES_MAX, f"{row.order_id}: has traded {taken} times")
        if row.status == "rejected":
            require(row.priority is None and not lots, f"{row.order_id}: rejected, and touched the book")
    for symbol in database.instruments:
        replay(database, symbol)


def replay(database: Database, symbol: str) -> None:
    """Do again what the rows say, change by change, and see that each was right.

    Plain lists, sorted anew for each change: what tests/engine/reference.py is to commands, this is to rows.
    """
    rows = {row.order_id: row for row in database.orders.values() if row.instrument.symbol == symbol}
    changes: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
    for row in rows.values():
        if row.priority is not None:
            changes[row.priority].append(("rest", row))
            if row.status == "cancelled":
                changes[row.sequence].append(("cancel", row))
    for trade in database.trades:
        if trade.instrument.symbol == symbol:
            changes[trade.event.sequence].append(("trade", trade.event))
    refused: defaultdict[int, list[Row]] = defaultdict(list)
    for row in (one for one in rows.values() if one.status == "rejected"):
        refused[row.sequence].append(row)
    require(not refused[0], f"{symbol}: refused by a book that nothing had touched")
    book: dict[str, int] = {}  # remaining lots by order id
    filled: Counter[str] = Counter()
    for sequence in range(1, database.sequences[symbol] + 1):
        require(len(changes[sequence]) == 1, f"{symbol} {sequence}: {changes[sequence]}")
        ((kind, what),) = changes[sequence]
        if kind == "rest":
            remaining = what.quantity_lots - filled[what.order_id]
            require(remaining > 0, f"{symbol} {sequence}: nothing of it rests")
            maker = best_maker(what, rows, book)
            require(maker is None, f"{symbol} {sequence}: the book is crossed")
            book[what.order_id] = remaining
            check_bounds(what, [rows[order_id] for order_id in book], f"{symbol} {sequence}")
        elif kind == "cancel":
            require(book.pop(what.order_id, None) is not None, f"{symbol} {sequence}: it did not rest")
        else:
            check_trade(what, rows, book, f"{symbol} {sequence}")
            for order_id in (what.maker_order_id, what.taker_order_id):
                filled[order_id] += what.quantity_lots
        for row in refused[sequence]:
            check_refusal(row, [rows[order_id] for order_id in book], f"{symbol} {sequence}")
    require(max(changes, default=0) <= database.sequences[symbol], f"{symbol}: a change beyond the last")
    resting = {row.order_id: row.quantity_lots - row.filled_lots for row in rows.values() if row.is_resting}
    require(book == resting, f"{symbol}: what rests is not what the changes leave")


def check_trade(trade: Any, rows: dict[str, Row], book: dict[str, int], place: str) -> None:
    """Take it off the book: its maker was the first in line."""
    maker = best_maker(rows[trade.taker_order_id], rows, book)
    require(maker == trade.maker_order_id, f"{place}: not the first in line")
    require(trade.price_ticks == rows[trade.maker_order_id].price_ticks, f"{place}: price")
    book[trade.maker_order_id] -= trade.quantity_lots
    require(book[trade.maker_order_id] >= 0, f"{place}: filled above its quantity")
    if not book[trade.maker_order_id]:
        del book[trade.maker_order_id]


def check_bounds(rested: Row, resting: list[Row], place: str) -> None:
    """What rests after one more order came to rest."""
    mine = [row for row in resting if row.client_id == rested.client_id]
    require(len(mine) <= rested.instrument.open_orders_max, f"{place}: too many orders of a client")
    require(len(resting) <= settings.INSTRUMENT_OPEN_ORDERS_MAX, f"{place}: too many orders")
    levels = {row.price_ticks for row in resting if row.side == rested.side}
    levels_max = settings.BOOK_LEVELS_PER_SIDE_MAX + settings.BOOK_LEVELS_IMPROVING_MAX
    require(len(levels) <= levels_max, f"{place}: too many levels")


def check_refusal(refused: Row, resting: list[Row], place: str) -> None:
    """What rested when an order was refused: a bound was met, and no other order was kept out."""
    mine = [row for row in resting if row.client_id == refused.client_id]
    if refused.reason == "too_many_orders":
        met = len(mine) >= refused.instrument.open_orders_max
        require(
            met or len(resting) >= settings.INSTRUMENT_OPEN_ORDERS_MAX, f"{place}: too few orders to refuse"
        )
        return
    require(refused.reason == "too_many_levels", f"{place}: refused for {refused.reason}")
    levels = {row.price_ticks for row in resting if row.side == refused.side}
    price = refused.price_ticks
    improves = (
        price > max(levels, default=0) if refused.side == "buy" else price < min(levels, default=price + 1)
    )
    levels_max = settings.BOOK_LEVELS_PER_SIDE_MAX + improves * settings.BOOK_LEVELS_IMPROVING_MAX
    require(price not in levels and len(levels) >= levels_max, f"{place}: too few levels to refuse")


def best_maker(taker: Row, rows: dict[str, Row], book: dict[str, int]) -> str | None:
    """The order that must be filled next by this one: the best price, and the first to rest at it."""
    makers = [
        rows[order_id]
        for order_id in book
        if rows[order_id].side != taker.side
        and (
            taker.type == "market"
            or (
                rows[order_id].price_ticks <= taker.price_ticks
                if taker.side == "buy"
                else rows[order_id].price_ticks >= taker.price_ticks
            )
        )
    ]
    sign = 1 if taker.side == "buy" else -1
    first = min(makers, key=lambda row: (sign * row.price_ticks, row.priority or 0), default=None)
    return None if first is None else first.order_id


def mirror_of(database: Database, symbol: str) -> tuple[int, list[str], list[str]]:
    """What the mirror in Redis must hold: sequence and members."""
    book = database.load_books()[symbol].book
    bids, asks = (
        sorted(f"{level.price_ticks}:{level.quantity_lots}:{level.orders}" for level in side)
        for side in book.depth()
    )
    return database.sequences[symbol], bids, asks
