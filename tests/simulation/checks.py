"""Checks of the promises: they compare the database with the answers that clients got."""

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from django.conf import settings

from tests.simulation.clients import ClientKnowledge
from tests.simulation.database import Database, Row
from tests.simulation.processes import document


class Breach(AssertionError):
    """A promise was broken."""


def require(kept: object, message: str) -> None:
    if not kept:
        raise Breach(message)


def check_clients(knowledge: ClientKnowledge, database: Database) -> None:
    """Check that acknowledged orders, fills and cancels are stored once, refused orders never."""
    by_key: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for order in knowledge.acknowledged:
        check_acknowledged(order, database)
        if order["idempotency_key"] is not None:
            by_key[order["client_id"], order["idempotency_key"]].add(order["order_id"])
    for row in database.orders.values():
        if row.idempotency_key is not None:
            by_key[row.client_id, row.idempotency_key].add(row.order_id)
        require(
            row.client_id not in knowledge.refused_clients,
            f"{row.client_id}: its order was refused, but is stored",
        )
    for key, order_ids in by_key.items():
        require(len(order_ids) == 1, f"key {key} has placed {len(order_ids)} orders")
    for order_id in knowledge.cancelled:
        require(database.orders[order_id].status == "cancelled", f"{order_id}: its cancel is lost")


def check_acknowledged(order: dict[str, Any], database: Database) -> None:
    """Check that an acknowledged state of an order is committed."""
    row = database.orders.get(order["order_id"])
    require(row is not None, f"{order['order_id']}: acknowledged, but not in the database")
    assert row is not None
    for name in ("client_id", "side", "type", "price", "quantity", "idempotency_key"):
        require(getattr(row, name) == order[name], f"{row.order_id}: {name} changed")
    require(row.filled_quantity >= order["filled_quantity"], f"{row.order_id}: fills are lost")
    stored = {
        (fill.trade_id, Decimal(bytes(fill.price).decode()), Decimal(bytes(fill.quantity).decode()))
        for fill in document(row).trades
    }
    acknowledged = {(fill["trade_id"], fill["price"], fill["quantity"]) for fill in order["trades"]}
    require(acknowledged <= stored, f"{row.order_id}: trades are lost or changed")


def check_database(database: Database) -> None:
    """Check that fills add up, and that each book follows from price-time priority."""
    trade_ids = Counter(trade.trade_id for trade in database.trades)
    require(all(count == 1 for count in trade_ids.values()), "a trade is stored twice")
    for row in database.orders.values():
        lots = sum(trade.event.quantity_lots for trade in row.trades)
        require(lots == row.filled_lots <= row.quantity_lots, f"{row.order_id}: fills do not add up")
        taken = sum(trade.event.taker.order_id == row.order_id for trade in row.trades)
        require(taken <= settings.ORDER_TRADES_MAX, f"{row.order_id}: has traded {taken} times")
        if row.status == "rejected":
            require(row.priority is None and not lots, f"{row.order_id}: rejected, but touched the book")
    for symbol in database.instruments:
        replay(database, symbol)


def replay(database: Database, symbol: str) -> None:
    """Repeat the changes that the rows record, one by one, and check that each was right.

    The book is plain, like the one of tests/engine/reference.py, but it takes rows, not commands.
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
    require(not refused[0], f"{symbol}: an empty book refused an order")
    book: dict[str, int] = {}  # remaining lots by order id
    filled: Counter[str] = Counter()
    for sequence in range(1, database.sequences[symbol] + 1):
        require(len(changes[sequence]) == 1, f"{symbol} {sequence}: {changes[sequence]}")
        ((kind, change),) = changes[sequence]
        if kind == "rest":
            remaining = change.quantity_lots - filled[change.order_id]
            require(remaining > 0, f"{symbol} {sequence}: nothing is left to rest")
            maker = best_maker(change, rows, book)
            require(maker is None, f"{symbol} {sequence}: the book is crossed")
            book[change.order_id] = remaining
            check_bounds(change, [rows[order_id] for order_id in book], f"{symbol} {sequence}")
        elif kind == "cancel":
            require(
                book.pop(change.order_id, None) is not None,
                f"{symbol} {sequence}: the cancelled order did not rest",
            )
        else:
            check_trade(change, rows, book, f"{symbol} {sequence}")
            for order in (change.maker, change.taker):
                filled[order.order_id] += change.quantity_lots
        for row in refused[sequence]:
            check_refusal(row, [rows[order_id] for order_id in book], f"{symbol} {sequence}")
    require(
        max(changes, default=0) <= database.sequences[symbol], f"{symbol}: a change after the last sequence"
    )
    resting = {row.order_id: row.quantity_lots - row.filled_lots for row in rows.values() if row.is_resting}
    require(book == resting, f"{symbol}: resting orders differ from the replayed book")


def check_trade(trade: Any, rows: dict[str, Row], book: dict[str, int], place: str) -> None:
    """Check that the trade's maker was first in line, and apply the trade to the book."""
    maker = best_maker(rows[trade.taker.order_id], rows, book)
    require(maker == trade.maker.order_id, f"{place}: the maker was not first in line")
    require(trade.price_ticks == rows[trade.maker.order_id].price_ticks, f"{place}: not the maker's price")
    book[trade.maker.order_id] -= trade.quantity_lots
    require(book[trade.maker.order_id] >= 0, f"{place}: filled above its quantity")
    if not book[trade.maker.order_id]:
        del book[trade.maker.order_id]


def check_bounds(rested: Row, resting: list[Row], place: str) -> None:
    """Check the bounds on resting orders after one more order came to rest."""
    mine = [row for row in resting if row.client_id == rested.client_id]
    require(len(mine) <= rested.instrument.open_orders_max, f"{place}: a client has too many orders")
    require(len(resting) <= settings.INSTRUMENT_OPEN_ORDERS_MAX, f"{place}: too many orders")
    levels = {row.price_ticks for row in resting if row.side == rested.side}
    levels_max = settings.BOOK_LEVELS_PER_SIDE_MAX + settings.BOOK_LEVELS_IMPROVING_MAX
    require(len(levels) <= levels_max, f"{place}: too many levels")


def check_refusal(refused: Row, resting: list[Row], place: str) -> None:
    """Check that a bound was reached when an order was refused."""
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
    """Return the id of the order that `taker` must fill next: best price, then earliest."""
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


def expected_mirror(database: Database, symbol: str) -> tuple[int, list[str], list[str]]:
    """Return the contents that the mirror in Redis must have: sequence, bids and asks."""
    book = database.load_books()[symbol].book
    bids, asks = (
        sorted(f"{level.price_ticks}:{level.quantity_lots}:{level.orders}" for level in side)
        for side in book.depth()
    )
    return database.sequences[symbol], bids, asks
