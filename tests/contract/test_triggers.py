"""Orders that wait for a trade, orders that expire, and both during a halt."""

from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from tests.contract.client import TIME, Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.instructed import LIMIT_TYPES, Outcome, later, outcome, place_for_a_moment, trade_at
from tests.contract.market import Market
from tests.system.exchange import wait_until

pytestmark = ON_UVICORN

# A type, its side, and a price that triggers it at 100. The price on the other side of 100 does not.
TRIGGERS = [
    ("stop", "buy", 101),
    ("stop", "sell", 99),
    ("take_profit", "buy", 99),
    ("take_profit", "sell", 101),
    ("stop_limit", "buy", 101),
    ("stop_limit", "sell", 99),
    ("take_profit_limit", "buy", 99),
    ("take_profit_limit", "sell", 101),
]


@pytest.mark.parametrize("exact", [True, False], ids=["at", "beyond"])
@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: f"{trigger[0]}-{trigger[1]}")
def test_an_order_waits_for_a_trade_at_its_trigger_price(
    client: Client, instrument: str, trigger: tuple[str, str, int], exact: bool
) -> None:
    order_type, side, beyond = trigger
    price = None if order_type not in LIMIT_TYPES else 110 if side == "buy" else 90
    instructions = {"type": order_type, "trigger_price": 100, "client_id": "ann"}
    waiting = client.place(instrument, side, 2, price, **instructions)
    assert outcome(waiting) == ("pending", None, 0, 2)
    assert client.levels(instrument) == ([], [])
    assert client.book(instrument)["sequence"] == 1
    trade_at(client, instrument, 200 - beyond)
    other, met_at = ("sell", 105) if side == "buy" else ("buy", 95)
    client.place(instrument, other, 1, met_at, client_id="bob")
    assert client.order(waiting["order_id"]) == waiting
    trade_at(client, instrument, 100 if exact else beyond)
    triggered = client.order(waiting["order_id"])
    assert TIME.fullmatch(triggered["triggered_at"])
    assert (triggered["type"], triggered["trigger_price"]) == (order_type, 100)
    (fill,) = triggered["trades"]
    assert (fill["side"], fill["liquidity"], fill["price"]) == (side, "taker", met_at)
    if price is None:
        assert outcome(triggered) == ("cancelled", "no_liquidity", 1, 1)
        assert client.levels(instrument) == ([], [])
    else:
        assert outcome(triggered) == ("partially_filled", None, 1, 1)
        level = [(price, 1, 1)]
        assert client.levels(instrument) == ((level, []) if side == "buy" else ([], level))


@pytest.mark.parametrize(("order_type", "side", "beyond"), TRIGGERS)
def test_an_order_whose_trigger_the_last_trade_meets_is_rejected(
    client: Client, instrument: str, order_type: str, side: str, beyond: int
) -> None:
    price = 50 if order_type in LIMIT_TYPES else None
    trade_at(client, instrument, beyond)
    sequence = client.book(instrument)["sequence"]
    for trigger_price in (100, beyond):
        order = client.place(instrument, side, 1, price, type=order_type, trigger_price=trigger_price)
        assert outcome(order) == ("rejected", "would_trigger", 0, 1)
        assert client.order(order["order_id"]) == order
    assert client.book(instrument)["sequence"] == sequence
    further = beyond + (1 if beyond > 100 else -1)
    waits = client.place(instrument, side, 1, price, type=order_type, trigger_price=further)
    assert waits["status"] == "pending"


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"type": "stop"}, ("cancelled", "no_liquidity", 1, 4)),
        ({"type": "stop", "time_in_force": "fok"}, ("cancelled", "unfilled_fok", 0, 5)),
        ({"type": "stop", "self_trade_prevention": "cancel_taker"}, ("cancelled", "self_trade", 0, 5)),
        ({"price": 105, "time_in_force": "fok"}, ("cancelled", "unfilled_fok", 0, 5)),
        ({"price": 105, "time_in_force": "ioc"}, ("cancelled", "unfilled_ioc", 1, 4)),
        ({"price": 105, "post_only": True}, ("cancelled", "would_cross", 0, 5)),
        ({"price": 104, "post_only": True}, ("open", None, 0, 5)),
        ({"price": 105, "self_trade_prevention": "cancel_maker"}, ("open", None, 0, 5)),
        ({"price": 105, "self_trade_prevention": "cancel_both"}, ("cancelled", "self_trade", 0, 5)),
        (
            {"price": 105, "time_in_force": "gtd", "expires_at": later(days=30)},
            ("partially_filled", None, 1, 4),
        ),
    ],
)
def test_other_instructions_apply_when_an_order_is_triggered(
    client: Client, instrument: str, instructions: dict[str, Any], expected: Outcome
) -> None:
    client.place(instrument, "sell", 1, 105, client_id="ann")
    body = {"client_id": "ann", "type": "stop_limit", "trigger_price": 100} | instructions
    waiting = client.place(instrument, "buy", 5, **body)
    assert waiting["status"] == "pending"
    trade_at(client, instrument, 100)
    triggered = client.order(waiting["order_id"])
    assert outcome(triggered) == expected
    assert triggered["triggered_at"] is not None
    assert triggered["time_in_force"] == waiting["time_in_force"]


def test_triggered_orders_enter_by_their_trades_and_trigger_each_other(
    client: Client, instrument: str
) -> None:
    """The stop at 100 enters before the one at 101, and what it triggers comes after both."""
    for price in (100, 101, 102, 103):
        client.place(instrument, "sell", 1, price, client_id="maker")
    stops = [
        client.place(instrument, "buy", 1, type="stop", trigger_price=price, client_id="ann")["order_id"]
        for price in (102, 101, 100)
    ]
    sweep = client.place(instrument, "buy", 2, 101, client_id="bob")
    assert sweep["average_price"] == Decimal("100.5")
    at_102, at_101, at_100 = (client.order(order_id) for order_id in stops)
    assert (at_100["average_price"], at_101["average_price"]) == (102, 103)
    assert outcome(at_102) == ("cancelled", "no_liquidity", 0, 1)
    assert {order["triggered_at"] for order in (at_101, at_102)} == {at_100["triggered_at"]}


# --- time, halts and bounds -------------------------------------------------------------------------------


def test_a_pending_order_can_be_cancelled_and_expires(client: Client, instrument: str) -> None:
    body = order_body(instrument, "buy", 1, 10, type="stop_limit", trigger_price=100)
    cancelled = client.cancel(client.post("/orders", body).json["order_id"])
    assert outcome(cancelled) == ("cancelled", "client_request", 0, 1)
    assert cancelled["triggered_at"] is None
    client.post(f"/orders/{cancelled['order_id']}/cancel").error(409, "order_not_open")
    waiting = place_for_a_moment(client, body)
    assert waiting["status"] == "pending"
    wait_until(lambda: client.order(waiting["order_id"])["status"] == "cancelled", "the order expires")
    assert client.order(waiting["order_id"])["reason"] == "expired"
    trade_at(client, instrument, 100)
    assert client.levels(instrument) == ([], [])


def test_an_order_expires_by_itself_and_keeps_its_fills(client: Client, instrument: str) -> None:
    client.place(instrument, "sell", 1, 10, client_id="bob")
    order = place_for_a_moment(client, order_body(instrument, "buy", 2, 10))
    assert order["filled_quantity"] == 1
    wait_until(lambda: client.levels(instrument) == ([], []), "the order expires")
    expired = client.order(order["order_id"])
    assert outcome(expired) == ("cancelled", "expired", 1, 1)
    assert expired["updated_at"] >= expired["expires_at"] == order["expires_at"]
    client.post(f"/orders/{order['order_id']}/cancel").error(409, "order_not_open")


def has_ended(client: Client, order_id: str) -> bool:
    return bool(client.order(order_id)["status"] == "cancelled")


def test_what_goes_on_during_a_halt_and_after_it(
    client: Client, market: Market, instrument: str, client_id: str
) -> None:
    """No order is taken. Cancels, expiry and switches go on, and the end of the halt triggers nothing."""
    trade_at(client, instrument, 90)
    stop = order_body(instrument, "buy", 1, type="stop", trigger_price=100)
    waiting = client.post("/orders", stop).json
    guarded = client.place(instrument, "buy", 1, 10, client_id=client_id)
    # Some of them expire before the halt. The first of the others expires soon after its beginning.
    bid = order_body(instrument, "buy", 1, 11, time_in_force="gtd")
    expiring = [
        client.post("/orders", bid | {"expires_at": later(seconds=1.2**number)}) for number in range(1, 27)
    ]
    market.change_status(instrument, "halted")
    for body in (stop, order_body(instrument, "sell", 1, 9, time_in_force="ioc")):
        for path in ("/orders", "/orders/test"):
            client.post(path, body).error(409, "instrument_halted")
        (result,) = client.post("/orders/batch", {"orders": [body]}).json["results"]
        assert (result["status"], result["error"]["code"]) == (409, "instrument_halted")
    placed = [answer.json["order_id"] for answer in expiring if answer.status == 201]
    left = [order for order in map(client.order, placed) if order["status"] == "open"]
    assert client.post("/orders/cancel-after", {"client_id": client_id, "timeout_seconds": 1}).status == 200
    for order, reason in ((left[0], "expired"), (guarded, "cancel_after")):
        ended = partial(has_ended, client, order["order_id"])
        wait_until(ended, f"the order is cancelled: {reason}")
        assert client.order(order["order_id"])["reason"] == reason
    assert client.cancel(left[-1]["order_id"])["reason"] == "client_request"
    market.change_status(instrument, "active")
    assert client.order(waiting["order_id"]) == waiting
    trade_at(client, instrument, 100)
    assert client.order(waiting["order_id"])["triggered_at"] is not None


def test_waiting_orders_have_a_bound_of_their_own(client: Client, market: Market, instrument: str) -> None:
    market.set_bounds(instrument, open_orders_max=1)
    stop = order_body(instrument, "buy", 1, 20, type="stop_limit", trigger_price=100)
    resting = client.place(instrument, "buy", 1, 10)
    waiting = client.post("/orders", stop).json
    assert waiting["status"] == "pending"
    refused = client.post("/orders", stop)
    assert (refused.status, outcome(refused.json)) == (201, ("rejected", "too_many_orders", 0, 1))
    trade_at(client, instrument, 100)
    triggered = client.order(waiting["order_id"])
    assert outcome(triggered) == ("cancelled", "too_many_orders", 0, 1)
    assert client.levels(instrument) == ([(10, 1, 1)], [])
    client.cancel(resting["order_id"])
    waiting = client.post("/orders", stop | {"trigger_price": 101}).json
    trade_at(client, instrument, 101)
    assert outcome(client.order(waiting["order_id"])) == ("open", None, 0, 1)
