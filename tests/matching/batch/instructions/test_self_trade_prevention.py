"""Self-trade prevention, as the rows of orders show it."""

from typing import Any

import pytest

from orders.messages import PlaceCommand
from orders.models import OrderEvent, Trade
from tests.matching.batch.instructions.rows import LOT, Run, events, gtd, outcome, replies, terms, trade_at
from tests.matching.flows import after
from tests.matching.partition import amend, place, stop


def own(side: str, price_ticks: int, lots: int, prevention: str, **others: Any) -> PlaceCommand:
    return place(side, price_ticks, lots, client_id="ann", self_trade_prevention=prevention, **others)


@pytest.mark.parametrize(
    ("prevention", "maker", "taker"),
    [
        ("none", ("partially_filled", None, 6, 0), ("filled", None, 8, 0)),
        ("cancel_taker", ("open", None, 0, 0), ("cancelled", "self_trade", 2, 0)),
        ("cancel_maker", ("cancelled", "self_trade", 0, 0), ("partially_filled", None, 2, 0)),
        ("cancel_both", ("cancelled", "self_trade", 0, 0), ("cancelled", "self_trade", 2, 0)),
        ("decrement", ("open", None, 0, 6), ("cancelled", "self_trade", 2, 6)),
    ],
)
def test_self_trade_prevention(run: Run, prevention: str, maker: Any, taker: Any) -> None:
    resting, incoming = own("sell", 101, 10, "none"), own("buy", 101, 8, prevention)
    run(place("sell", 100, 2, client_id="bob"), resting, incoming)
    assert (outcome(resting), outcome(incoming)) == (maker, taker)
    assert Trade.objects.count() == (2 if prevention == "none" else 1)
    assert len(events(resting)) == (prevention == "decrement")


def test_a_decremented_maker_without_a_remainder_is_cancelled(run: Run) -> None:
    maker, taker = own("sell", 101, 4, "none", **gtd(60)), own("buy", 101, 10, "decrement")
    run(maker, taker)
    assert outcome(maker) == ("cancelled", "self_trade", 0, 4)
    assert outcome(taker) == ("open", None, 0, 4)
    event = OrderEvent.objects.get()
    assert (event.kind, int((event.prevented_quantity or 0) * LOT)) == ("prevented", 4)
    run(now=after(60))


@pytest.mark.parametrize("how", ["as a maker", "as a taker", "after a trigger"])
def test_an_order_that_was_partly_prevented_and_then_filled_is_cancelled(run: Run, how: str) -> None:
    run(*trade_at(90))
    order = own("buy", 101, 10, "decrement")
    if how == "as a maker":
        run(order, own("sell", 101, 4, "decrement"), place("sell", 101, 6, client_id="bob"))
    elif how == "as a taker":
        run(own("sell", 101, 4, "none"), place("sell", 101, 6, client_id="bob"), order)
    else:
        order = stop("buy", 95, 10, client_id="ann", self_trade_prevention="decrement")
        run(own("sell", 101, 4, "none"), place("sell", 101, 6, client_id="bob"), order, *trade_at(95))
    assert outcome(order) == ("cancelled", "self_trade", 6, 4)


def test_an_amended_order_may_be_prevented_too(run: Run) -> None:
    maker, order = own("sell", 105, 4, "none"), own("buy", 100, 10, "decrement")
    run(maker, order, amend(order, price_ticks=105), amend(order, quantity_lots=5))
    assert (outcome(order), terms(order)) == (("open", None, 0, 4), (105, 5, None))
    assert replies(run(amend(order, quantity_lots=4))) == [("amend_refused", "quantity_filled")]
    run(place("sell", 105, 1, client_id="bob"))
    assert outcome(order) == ("cancelled", "self_trade", 1, 4)


def test_an_amended_order_that_meets_its_client_is_cancelled_as_a_taker(run: Run) -> None:
    maker, order = own("sell", 105, 4, "none"), own("buy", 100, 10, "cancel_taker")
    run(maker, order, amend(order, price_ticks=105))
    assert (outcome(maker), outcome(order)) == (("open", None, 0, 0), ("cancelled", "self_trade", 0, 0))
