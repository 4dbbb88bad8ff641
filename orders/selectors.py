"""Reads of orders and their trades. Synchronous: views call them through rest.database.read_database."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet, prefetch_related_objects

from orders.documents import FillDocument, OrderDocument, fill_document, stored_state
from orders.models import Order


def find_order(order_id: UUID | str) -> OrderDocument | None:
    """The order with its trades; None where there is none."""
    orders = _documents(Order.objects.filter(order_id=order_id))
    return orders[0] if orders else None


def find_order_by_key(client_id: str, idempotency_key: str) -> OrderDocument | None:
    """The order that has this client's idempotency key."""
    orders = _documents(Order.objects.filter(client_id=client_id, idempotency_key=idempotency_key))
    return orders[0] if orders else None


def find_order_row(order_id: UUID | str) -> Order | None:
    """The order's row with its instrument, without its trades."""
    return Order.objects.select_related("instrument").filter(order_id=order_id).first()


def list_orders(*, filters: dict[str, Any], before: UUID | None, limit: int) -> list[OrderDocument]:
    """Newest first; `filters` are exact matches on columns, `before` the last order_id of the page before."""
    orders = Order.objects.filter(**filters).order_by("-order_id")
    if before is not None:
        orders = orders.filter(order_id__lt=before)
    return _documents(orders[:limit])


def _documents(orders: QuerySet[Order]) -> list[OrderDocument]:
    """One query for the orders, and two for the trades of those that have any."""
    rows = list(orders.select_related("instrument"))
    filled = [order for order in rows if order.filled_quantity]
    prefetch_related_objects(filled, "maker_trades", "taker_trades")
    return [
        OrderDocument(
            **stored_state(order, order.instrument.symbol),
            trades=_fills(order) if order.filled_quantity else [],
        )
        for order in rows
    ]


def _fills(order: Order) -> list[FillDocument]:
    """In the order in which they happened."""
    fills = [(trade.sequence, fill_document(trade, liquidity="taker")) for trade in order.taker_trades.all()]
    fills += [(trade.sequence, fill_document(trade, liquidity="maker")) for trade in order.maker_trades.all()]
    return [fill for _, fill in sorted(fills, key=lambda item: item[0])]
