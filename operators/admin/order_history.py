"""Shows an order's terms and events, for the admin's pages of orders."""

from decimal import Decimal

from django.conf import settings
from django.db.models import Q
from django.template.loader import render_to_string

from base.numbers import decimal_text
from instruments.choices import LIMIT_TYPES, SelfTradePrevention, TimeInForce
from orders.models import Order, OrderEvent


def terms_text(order: Order) -> str:
    """Return an order's trigger and instructions, without those that most orders of its type have."""
    usual = TimeInForce.GTC if order.type in LIMIT_TYPES else TimeInForce.IOC
    words = [
        f"from {decimal_text(order.trigger_price)}" if order.trigger_price is not None else "",
        order.time_in_force if order.time_in_force != usual else "",
        "post-only" if order.post_only else "",
        (
            order.get_self_trade_prevention_display().lower()
            if order.self_trade_prevention != SelfTradePrevention.NONE
            else ""
        ),
    ]
    return " · ".join(filter(None, words))


def events_table(order: Order) -> str:
    """Return the order's latest events as HTML, newest first, at most ADMIN_EVENTS_MAX of them.

    A prevented match is an event of both its orders.
    """
    found = OrderEvent.objects.filter(Q(order=order) | Q(taker_order=order)).order_by("-sequence")
    events = list(found[: settings.ADMIN_EVENTS_MAX + 1])
    more = len(events) > settings.ADMIN_EVENTS_MAX
    rows = [
        {
            "event": event,
            "price": _text(event.price),
            "trigger_price": _text(event.trigger_price),
            "quantity": _text(event.quantity),
            "prevented": _text(event.prevented_quantity),
            "is_own": event.order_id == order.pk,
            "other_id": event.order_id if event.order_id != order.pk else event.taker_order_id,
        }
        for event in events[: settings.ADMIN_EVENTS_MAX]
    ]
    context = {
        "rows": rows,
        "more": more,
        "events_max": settings.ADMIN_EVENTS_MAX,
        "has_trigger": order.trigger_price is not None,
        "has_prevented": any(row["prevented"] for row in rows),
    }
    return render_to_string("operators/order_events.html", context)


def _text(value: Decimal | None) -> str:
    return "" if value is None else decimal_text(value)
