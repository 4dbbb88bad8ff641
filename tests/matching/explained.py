"""Checks that what is stored explains each number of a book's sequence, exactly once."""

from collections import defaultdict
from uuid import UUID

from marketdata.models import BookSequence
from orders.models import Order, OrderEvent, Trade

# A cancel for one of these reasons takes an order off, if it has rested or waited. For all other
# reasons a taker's remainder is cancelled, which changes no book.
TAKEN_OFF = ("client_request", "operator", "expired", "cancel_after", "disconnected")


def unexplained(symbol: str) -> dict[int, list[str]]:
    """Return the numbers with no explanation, or with several, and their explanations."""
    sequence = (
        BookSequence.objects.filter(instrument__symbol=symbol).values_list("sequence", flat=True).first()
    )
    found: defaultdict[int, list[str]] = defaultdict(list)
    for number in Trade.objects.filter(instrument__symbol=symbol).values_list("sequence", flat=True):
        found[number].append("trade")
    events = list(OrderEvent.objects.filter(instrument__symbol=symbol))
    of_order: set[tuple[UUID, int]] = set()  # the numbers of an order's events
    for event in events:
        found[event.sequence].append(event.kind)
        of_order.add((event.order_id, event.sequence))
    orders = list(Order.objects.filter(instrument__symbol=symbol))
    # Priorities, now and before an event: the order came to rest or to wait.
    numbered: list[OrderEvent | Order] = [*events, *orders]
    arrivals = {(one.order_id, one.priority) for one in numbered if one.priority is not None}
    for _, number in arrivals - of_order:
        found[number].append("arrival")
    for order in orders:
        if order.status == "cancelled" and order.priority is not None and order.reason in TAKEN_OFF:
            found[order.sequence].append(f"taken off: {order.reason}")
    for order in orders:
        # A maker that self-trade prevention has taken off has a number of its own. A taker and a
        # maker that was reduced to nothing share the number of another change.
        if order.reason == "self_trade" and order.priority is not None and not found[order.sequence]:
            found[order.sequence].append("prevented")
    numbers = range(1, 1 + max(sequence or 0, *found, 0))
    return {
        number: found[number] for number in numbers if len(found[number]) != 1 or number > (sequence or 0)
    }
