"""Checks of the promises: they compare the database with the answers that clients got."""

from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from base.times import from_unix_milliseconds
from matching.batch.batch import Batch
from tests.simulation.breaches import require
from tests.simulation.clients import AcknowledgedSwitch, ClientKnowledge
from tests.simulation.database import Before, Database
from tests.simulation.processes import document
from tests.simulation.replay import Replay
from tests.simulation.rows import Row

TERMS = (
    "client_id",
    "side",
    "type",
    "idempotency_key",
    "time_in_force",
    "post_only",
    "self_trade_prevention",
)
AMENDABLE = ("price", "quantity", "trigger_price")


def check_clients(knowledge: ClientKnowledge, database: Database) -> None:
    """Check that acknowledged orders, fills and cancels are stored once, refused orders never."""
    by_key: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for order in knowledge.acknowledged:
        check_acknowledged(order, database, is_amended=knowledge.amends_sent[order["order_id"]] > 0)
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
    for order_id in knowledge.ended:
        require(not database.orders[order_id].is_live, f"{order_id}: has survived a mass cancel")
    for client_id, switches in knowledge.switches.items():
        if len(switches) == knowledge.switches_sent[client_id]:  # one that is sent again may arrive late
            check_switch(client_id, switches[-1], database)
    for order_id, order in knowledge.amended.items():
        if knowledge.amends_sent[order_id] == 1:  # an amend that is sent again may arrive late
            check_terms(order, database.orders[order_id], AMENDABLE)


def check_acknowledged(order: dict[str, Any], database: Database, *, is_amended: bool) -> None:
    """Check that an acknowledged state of an order is committed."""
    row = database.orders.get(order["order_id"])
    require(row is not None, f"{order['order_id']}: acknowledged, but not in the database")
    assert row is not None
    check_terms(order, row, TERMS if is_amended else (*TERMS, *AMENDABLE))
    require(row.filled_quantity >= order["filled_quantity"], f"{row.order_id}: fills are lost")
    require(row.prevented_quantity >= order["prevented_quantity"], f"{row.order_id}: prevented too little")
    stored = {
        (fill.trade_id, Decimal(bytes(fill.price).decode()), Decimal(bytes(fill.quantity).decode()))
        for fill in document(row).trades
    }
    acknowledged = {(fill["trade_id"], fill["price"], fill["quantity"]) for fill in order["trades"]}
    require(acknowledged <= stored, f"{row.order_id}: trades are lost or changed")


def check_terms(order: dict[str, Any], row: Any, names: tuple[str, ...]) -> None:
    for name in names:
        require(getattr(row, name) == order[name], f"{row.order_id}: {name} changed")


def check_switch(client_id: str, switch: AcknowledgedSwitch, database: Database) -> None:
    """Check that a client's last dead man's switch is stored, or has cancelled the client's orders."""
    stored = database.switches.get(client_id)
    if stored is not None or switch.cancel_at is None:
        require(stored == switch.cancel_at, f"{client_id}: its switch changed to {stored}")
        return
    require(switch.cancel_at <= database.latest, f"{client_id}: its switch is lost")
    survivors = [order_id for order_id in switch.covered if database.orders[order_id].is_live]
    require(not survivors, f"{survivors}: have survived the switch of {client_id}")


def check_batch(database: Database, batch: Batch, before: Before) -> None:
    """Check, after each commit, that what was due came before all else, and nothing else as due."""
    now = batch.now
    for order_id in (*batch.orders, *batch.changes):
        row = database.orders[order_id]
        if row.reason == "expired":
            require(is_past(row.expires_at, now), f"{order_id}: has expired at {now}, and not later")
        elif row.reason == "cancel_after":
            at = before.switches.get(row.client_id)
            require(is_past(at, now), f"{order_id}: its client's switch is due at {at}, and not at {now}")
    expires_at = dict(before.expires_at)
    for order_id, order in batch.orders.items():
        due_ms = order.command.expires_at_ms
        expires_at[order_id] = None if due_ms is None else from_unix_milliseconds(due_ms)
    for trade in batch.trades:
        for order_id in (trade.event.maker.order_id, trade.event.taker.order_id):
            at = expires_at[order_id]
            require(not is_past(at, now), f"{order_id}: traded at {now}, and expired at {at}")
    overdue = [
        row.order_id for row in database.orders.values() if row.is_live and is_past(row.expires_at, now)
    ]
    overdue += [client_id for client_id, at in database.switches.items() if at <= now]
    if overdue:  # the batch had no room for it
        require(not batch.commands and not batch.trades, f"something came before what is due: {overdue}")
    for client_id, at in before.switches.items():
        if at <= now and client_id in batch.switches:
            survivors = [
                row.order_id
                for row in database.orders.values()
                if row.client_id == client_id and row.is_live and row.order_id not in batch.orders
            ]
            require(not survivors, f"{survivors}: have survived the switch of {client_id}")


def is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def check_database(database: Database) -> None:
    """Check that fills add up, and that each book follows from price-time priority."""
    trade_ids = Counter(trade.trade_id for trade in database.trades)
    require(all(count == 1 for count in trade_ids.values()), "a trade is stored twice")
    prevented = Counter[str]()
    for row in database.orders.values():
        for event in row.events:
            prevented[row.order_id] += event.prevented_lots
            prevented[event.taker_order_id or ""] += event.prevented_lots
    for row in database.orders.values():
        lots = sum(trade.event.quantity_lots for trade in row.trades)
        require(lots == row.filled_lots, f"{row.order_id}: fills do not add up")
        require(
            prevented[row.order_id] == row.prevented_lots, f"{row.order_id}: prevented lots do not add up"
        )
        is_possible = row.remaining_lots > 0 if row.is_live else row.remaining_lots >= 0
        require(is_possible, f"{row.order_id}: {row.status} with {row.remaining_lots} lots")
        if not any(event.kind == "withdrawn" for event in row.events):  # has entered only once
            taken = sum(trade.event.taker.order_id == row.order_id for trade in row.trades)
            require(taken <= settings.ORDER_TRADES_MAX, f"{row.order_id}: has traded {taken} times")
        if row.status == "rejected":
            require(row.priority is None and not lots, f"{row.order_id}: rejected, but touched the book")
        check_instructions(row)
    for symbol in database.instruments:
        Replay(database, symbol).run()


def check_instructions(row: Row) -> None:
    """Check that an order was carried out as it says. The replay checks prices, priority and triggers."""
    has_taken = any(trade.event.taker.order_id == row.order_id for trade in row.trades)
    if row.time_in_force in ("ioc", "fok"):
        require(not row.is_resting, f"{row.order_id}: rests, and is {row.time_in_force}")
    if row.time_in_force == "fok":
        require(row.filled_lots in (0, row.quantity_lots), f"{row.order_id}: is filled in part, and is fok")
    if row.post_only:
        require(not has_taken, f"{row.order_id}: took liquidity, and is post-only")
    if row.trigger_price_ticks and row.triggered_at is None:
        require(not row.trades and not row.is_resting, f"{row.order_id}: traded, and was not triggered")


def expected_mirror(database: Database, symbol: str) -> tuple[int, list[str], list[str]]:
    """Return the contents that the mirror in Redis must have: sequence, bids and asks."""
    book = database.load_books()[symbol].book
    bids, asks = (
        sorted(f"{level.price_ticks}:{level.quantity_lots}:{level.orders}" for level in side)
        for side in book.depth()
    )
    return database.sequences[symbol], bids, asks
