"""Expiry and dead man's switches: what is due comes before the commands of a batch."""

import pytest

from base.times import unix_milliseconds
from orders.messages import ReplyKind
from orders.models import CancelAfter, Order
from tests.matching.batch.instructions.rows import Run, gtd, outcome, priority, replies
from tests.matching.flows import after
from tests.matching.partition import amend, cancel_after, place, stop


def test_orders_expire_before_the_commands_of_a_batch(run: Run) -> None:
    resting, waiting = place("sell", 100, 10, **gtd(5)), stop("buy", 110, 5, 110, **gtd(5))
    later = place("sell", 101, 10, **gtd(5.001))
    run(resting, waiting, later)
    taker = place("buy", 101, 10, client_id="bob")
    run(taker, now=after(5))
    assert outcome(resting) == outcome(waiting) == ("cancelled", "expired", 0, 0)
    assert (outcome(later), outcome(taker)) == (("filled", None, 10, 0), ("filled", None, 10, 0))


@pytest.mark.parametrize("seconds", [-60, 0])
def test_an_order_that_arrives_after_its_time_never_trades(run: Run, seconds: float) -> None:
    order, waiting = place("buy", 100, 10, **gtd(seconds)), stop("buy", 110, 10, 110, **gtd(seconds))
    run(place("sell", 100, 10, client_id="bob"), order, waiting)
    assert outcome(order) == outcome(waiting) == ("cancelled", "expired", 0, 0)
    assert (priority(order), priority(waiting)) == (None, None)


def test_due_work_is_done_in_the_order_of_its_times(run: Run) -> None:
    """Expiries come before switches of the same time, and orders expire by entry."""
    orders = [
        place("buy", 100, 1, **gtd(30)),
        place("buy", 101, 1, **gtd(10)),
        place("buy", 102, 1, client_id="bob", **gtd(20)),
        place("buy", 103, 1, client_id="bob"),
        place("buy", 104, 1, **gtd(20)),
    ]
    run(*orders, cancel_after("bob", 20), amend(orders[0], price_ticks=105))
    run(now=after(60))
    ended = Order.objects.order_by("sequence")
    assert [str(row.order_id) for row in ended] == [orders[number].order_id for number in (1, 2, 4, 3, 0)]
    assert [row.reason for row in ended] == ["expired"] * 3 + ["cancel_after", "expired"]


def test_a_switch_cancels_all_orders_of_its_client_and_disarms_itself(run: Run) -> None:
    mine = [place("buy", 100, 10), stop("buy", 110, 10), place("buy", 100, 10, instrument="ETH-USD")]
    other = place("buy", 100, 10, client_id="bob")
    run(*mine, other, cancel_after("client-A", 10))
    assert CancelAfter.objects.get().cancel_at == after(10)
    run(now=after(9.999))
    assert {outcome(order)[0] for order in mine} == {"open", "pending"}
    late = place("buy", 100, 10)
    run(late, now=after(10))
    assert {outcome(order) for order in mine} == {("cancelled", "cancel_after", 0, 0)}
    assert (outcome(late)[0], outcome(other)[0]) == ("open", "open")
    assert not CancelAfter.objects.exists()
    run(now=after(60))
    assert outcome(late)[0] == "open"


def test_each_switch_replaces_the_last_one_and_zero_seconds_remove_it(run: Run) -> None:
    order = place("buy", 100, 10)
    batches = run(order, cancel_after("client-A", 10), cancel_after("client-A", 20))
    assert replies(batches) == [
        (ReplyKind.DONE, str(unix_milliseconds(after(seconds)))) for seconds in (10, 20)
    ]
    run(cancel_after("client-A", 30), now=after(15))
    run(now=after(44))
    assert outcome(order)[0] == "open"
    assert replies(run(cancel_after("client-A", 0), now=after(44))) == [(ReplyKind.DONE, "null")]
    run(cancel_after("client-A", 0), cancel_after("bob", 5), cancel_after("bob", 0), now=after(60))
    assert outcome(order)[0] == "open"
    assert not CancelAfter.objects.exists()
