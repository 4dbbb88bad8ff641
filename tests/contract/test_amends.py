"""Amends: what is refused, in which order, what keeps an order's place, and what enters again.

An amend may be sent in four ways, and each test of a refusal sends all of them: a refusal changes
nothing, so that they can follow one another.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.client import Client, check_order, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.instructed import (
    UNKNOWN_ID,
    later,
    outcome,
    place_for_a_moment,
    results,
    statuses,
    trade_at,
)
from tests.contract.market import Market
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange, wait_until

IN_A_MONTH, IN_TWO_MONTHS = later(days=30), later(days=60)
WAYS = ("by id", "by id and client", "in a list by id", "in a list by key")


def amend(client: Client, order: Any, way: str, **changes: Any) -> tuple[int, Any]:
    """Send an amend. Return its status, and the order or the error."""
    if way.startswith("by id"):
        owner = {"client_id": order["client_id"]} if way == "by id and client" else {}
        answer = client.post(f"/orders/{order['order_id']}/amend", owner | changes)
        return answer.status, answer.json if answer.status == 200 else answer.json["error"]
    names = ("order_id",) if way == "in a list by id" else ("client_id", "idempotency_key")
    item = {name: order[name] for name in names} | changes
    (result,) = results(client.post("/orders/amend", {"amends": [item]}))
    return result["status"], result["order" if result["status"] == 200 else "error"]


def amended(client: Client, order: Any, **changes: Any) -> Any:
    """Return the amended order, which a later read shows, too."""
    status, document = amend(client, order, "by id", **changes)
    assert status == 200, document
    assert check_order(document)["order_id"] == order["order_id"]
    assert document == client.order(order["order_id"])
    return document


def test_an_order_is_amended(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 5, 10)
    answer = client.post(f"/orders/{order['order_id']}/amend", {"price": "10.50", "quantity": 7})
    assert answer.status == 200
    changed = {"price": Decimal("10.5"), "quantity": 7, "remaining_quantity": 7}
    assert check_order(answer.json) == order | changed | {"updated_at": answer.json["updated_at"]}
    assert client.levels(instrument) == ([(Decimal("10.5"), 7, 1)], [])
    assert client.order(order["order_id"]) == answer.json
    item = {"order_id": order["order_id"], "price": 9}
    assert statuses(client.post("/orders/amend", {"amends": [item]})) == [200]
    assert client.levels(instrument) == ([(9, 7, 1)], [])


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def orders(shared_exchange: RunningExchange, market: Market) -> Iterator[dict[str, Any]]:
    """Orders of every state in one book. Best bid 91, best ask 110, last trade 100.

    Each may be refused for several reasons at once, so that the order of the checks shows.
    """
    instrument = market.fresh_instrument()
    with Client(shared_exchange.url) as client:

        def place(name: str, side: str, quantity: int, price: int | None, **more: Any) -> None:
            placed[name] = client.place(instrument, side, quantity, price, idempotency_key=name, **more)

        placed: dict[str, Any] = {}
        ann = {"client_id": f"amends-{instrument}"}
        place("filled", "buy", 1, 100, **ann)
        place("partly filled", "buy", 10, 100, **ann)
        client.place(instrument, "sell", 5, 100, client_id="bob")
        own = ann | {"self_trade_prevention": "decrement"}
        assert client.place(instrument, "sell", 1, 100, **own)["status"] == "cancelled"
        assert amended(client, placed["partly filled"], price=90)["prevented_quantity"] == 1
        place("cancelled", "buy", 1, 89, **ann)
        client.cancel(placed["cancelled"]["order_id"])
        place("post-only", "buy", 5, 91, post_only=True, **ann)
        place("eve's filled", "sell", 2, 91, client_id=f"eve-{instrument}")
        client.place(instrument, "sell", 9, 110, client_id="bob")
        trade_at(client, instrument, 100)
        place("rejected", "buy", 1, 110, post_only=True, **ann)
        place("stop", "buy", 5, None, type="stop", trigger_price=120, **ann)
        place("stop-limit", "buy", 5, 105, type="stop_limit", trigger_price=120, post_only=True, **ann)
        place("gtd", "buy", 5, 80, time_in_force="gtd", expires_at=IN_A_MONTH, **ann)
        place("eve's", "buy", 1, 79, client_id=f"eve-{instrument}")
        yield {name: client.order(order["order_id"]) for name, order in placed.items()}


@pytest.fixture
def refuse(client: Client, orders: dict[str, Any]) -> Iterator[Any]:
    """Return a function that sends an amend in all ways and returns the one error. Nothing changes."""
    before = client.book(orders["filled"]["instrument"])["sequence"]

    def send(name: str, status: int, changes: dict[str, Any], **other: Any) -> Any:
        order = orders[name] | other
        answers = [amend(client, order, way, **changes) for way in WAYS]
        assert [found for found, _ in answers] == [status] * len(WAYS), answers
        errors = [(error["code"], error.get("reason"), set(error.get("fields", ()))) for _, error in answers]
        assert errors == errors[:1] * len(WAYS)
        return answers[0][1]

    yield send
    assert client.book(orders["filled"]["instrument"])["sequence"] == before
    for order in orders.values():
        assert client.order(order["order_id"]) == order


ANYTHING = {"price": 110, "quantity": 1, "trigger_price": 100, "expires_at": IN_TWO_MONTHS}


@ON_UVICORN
def test_an_unknown_order_or_another_clients_is_not_found(refuse: Any, orders: dict[str, Any]) -> None:
    missing = {"order_id": UNKNOWN_ID, "idempotency_key": "no such key"}
    assert refuse("filled", 404, ANYTHING, **missing)["code"] == "order_not_found"


@ON_UVICORN
@pytest.mark.parametrize("name", ["eve's", "eve's filled"])
def test_another_clients_order_is_not_found(client: Client, orders: dict[str, Any], name: str) -> None:
    other = orders[name] | {"client_id": orders["filled"]["client_id"]}
    for way in ("by id and client", "in a list by key"):
        status, error = amend(client, other, way, quantity=2)
        assert (status, error["code"]) == (404, "order_not_found")
    item = {"order_id": other["order_id"], "client_id": other["client_id"], "quantity": 2}
    assert statuses(client.post("/orders/amend", {"amends": [item]})) == [404]
    assert client.order(other["order_id"]) == orders[name]


@ON_UVICORN
@pytest.mark.parametrize("name", ["filled", "cancelled", "rejected"])
def test_an_order_that_has_ended_is_not_open(refuse: Any, name: str) -> None:
    assert refuse(name, 409, ANYTHING)["code"] == "order_not_open"


# The order, the changes, and the first reason that applies. Later ones apply, too, where that is possible.
REFUSED = [
    ("partly filled", {"trigger_price": 90}, "not_applicable"),
    ("partly filled", {"trigger_price": 90, "quantity": 5}, "not_applicable"),
    ("partly filled", {"expires_at": IN_TWO_MONTHS}, "not_applicable"),
    ("post-only", {"expires_at": IN_TWO_MONTHS, "price": 110, "quantity": 1}, "not_applicable"),
    ("gtd", {"trigger_price": 90, "expires_at": IN_TWO_MONTHS}, "not_applicable"),
    ("stop", {"price": 110}, "not_applicable"),
    ("stop", {"price": 110, "trigger_price": 100}, "not_applicable"),
    ("stop-limit", {"expires_at": IN_TWO_MONTHS, "trigger_price": 100}, "not_applicable"),
    ("partly filled", {"quantity": 5}, "quantity_filled"),
    ("partly filled", {"quantity": "0.00000001", "price": 110}, "quantity_filled"),
    ("post-only", {"quantity": 2, "price": 110}, "quantity_filled"),
    ("stop", {"trigger_price": 100}, "would_trigger"),
    ("stop", {"trigger_price": 99, "quantity": 1}, "would_trigger"),
    ("stop-limit", {"trigger_price": 100, "price": 110}, "would_trigger"),
    ("post-only", {"price": 110}, "would_cross"),
    ("post-only", {"price": 111, "quantity": 3}, "would_cross"),
]


@ON_UVICORN
@pytest.mark.parametrize(("name", "changes", "reason"), REFUSED)
def test_the_first_refusal_that_applies_is_the_answer(
    refuse: Any, name: str, changes: dict[str, Any], reason: str
) -> None:
    error = refuse(name, 409, changes)
    assert (error["code"], error["reason"]) == ("amend_refused", reason)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({}, "body"),
    ({"price": None, "quantity": None, "expires_at": None, "trigger_price": None}, "body"),
    ({"price": "10.001"}, "price"),
    ({"price": 0}, "price"),
    ({"price": "10000000.01"}, "price"),
    ({"quantity": "1.000000001"}, "quantity"),
    ({"quantity": 0}, "quantity"),
    ({"quantity": "10000.1"}, "quantity"),
    ({"trigger_price": "99.999"}, "trigger_price"),
    ({"trigger_price": "10000000.01"}, "trigger_price"),
    ({"expires_at": later(seconds=-1)}, "expires_at"),
    ({"expires_at": later(days=401)}, "expires_at"),
    ({"expires_at": "tomorrow"}, "expires_at"),
    ({"quantity": 1, "side": "sell"}, "side"),
    ({"quantity": 1, "time_in_force": "gtc"}, "time_in_force"),
]


@ON_UVICORN
@pytest.mark.parametrize(("changes", "field"), INVALID)
def test_invalid_values_are_refused_before_the_orders_state_is_looked_at(
    refuse: Any, changes: dict[str, Any], field: str
) -> None:
    for name in ("gtd", "stop", "filled"):
        error = refuse(name, 400, changes)
        assert (error["code"], error["fields"].keys()) == ("invalid_request", {field})


@ON_UVICORN
def test_a_halted_instrument_takes_only_amends_that_reduce(
    client: Client, market: Market, instrument: str
) -> None:
    own = {"client_id": "ann", "idempotency_key": f"{instrument} 1"}
    order = client.place(instrument, "buy", 5, 10, time_in_force="gtd", expires_at=IN_A_MONTH, **own)
    own["idempotency_key"] = f"{instrument} 2"
    stop = client.place(instrument, "buy", 5, type="stop", trigger_price=20, **own)
    market.change_status(instrument, "halted")
    for changes in ({"quantity": 6}, {"price": 9}, {"expires_at": IN_TWO_MONTHS}, {"trigger_price": 10}):
        for way in WAYS:
            status, error = amend(client, order, way, **changes)
            assert (status, error["code"]) == (409, "instrument_halted"), changes
    for changes in ({"price": 10}, {"trigger_price": 21}, {"quantity": 6}):
        assert amend(client, stop, "by id", **changes)[1]["code"] == "instrument_halted", changes
    assert amended(client, order, quantity=4)["quantity"] == 4
    assert amended(client, order, quantity=3, price=10, expires_at=IN_A_MONTH)["quantity"] == 3
    assert amended(client, stop, quantity=4)["quantity"] == 4
    client.cancel(order["order_id"])
    assert amend(client, order, "by id", price=9)[1]["code"] == "order_not_open"


# --- priority ---------------------------------------------------------------------------------------------


@ON_UVICORN
@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"quantity": 5}, 0),
        ({"price": "99.0"}, 0),
        ({"expires_at": IN_TWO_MONTHS}, 0),
        ({"quantity": "4.00"}, 1),
        ({"price": 99, "quantity": 1}, 1),
        ({"quantity": 4, "expires_at": IN_TWO_MONTHS}, 1),
        ({"quantity": 6}, 2),
        ({"quantity": 6, "price": 99}, 2),
    ],
)
def test_an_amend_that_only_reduces_keeps_the_orders_place(
    client: Client, instrument: str, changes: dict[str, Any], counted: int
) -> None:
    """A reduction is one change of the book, a removal and a return are two."""
    gtd = {"time_in_force": "gtd", "expires_at": IN_A_MONTH, "client_id": "ann"}
    first = client.place(instrument, "buy", 5, 99, **gtd)
    second = client.place(instrument, "buy", 5, 99, client_id="bob")
    changed = amended(client, first, **changes)
    assert client.book(instrument)["sequence"] == 2 + counted
    assert amended(client, first, **changes) == changed
    assert client.book(instrument)["sequence"] == 2 + counted
    client.place(instrument, "sell", 1, 99, client_id="tom")
    filled = [client.order(order["order_id"])["filled_quantity"] for order in (first, second)]
    assert filled == ([1, 0] if counted < 2 else [0, 1])


@ON_UVICORN
def test_an_order_that_leaves_its_price_and_comes_back_stands_behind_the_others(
    client: Client, instrument: str
) -> None:
    first, second = (client.place(instrument, "buy", 5, 99, client_id=name) for name in ("ann", "bob"))
    amended(client, first, price=98, quantity=4)
    assert client.levels(instrument) == ([(99, 5, 1), (98, 4, 1)], [])
    amended(client, first, price=99)
    client.place(instrument, "sell", 6, 99, client_id="tom")
    assert outcome(client.order(second["order_id"])) == ("filled", None, 5, 0)
    assert outcome(client.order(first["order_id"])) == ("partially_filled", None, 1, 3)


@ON_UVICORN
@pytest.mark.parametrize(
    ("changes", "keeps_place"),
    [
        ({"quantity": 1}, True),
        ({"price": 110, "trigger_price": 105}, True),
        ({"quantity": 3}, False),
        ({"price": 111}, False),
    ],
)
def test_a_waiting_order_keeps_its_place_or_goes_behind_the_others(
    client: Client, instrument: str, changes: dict[str, Any], keeps_place: bool
) -> None:
    stop = {"type": "stop_limit", "trigger_price": 105}
    first = client.place(instrument, "buy", 2, 110, client_id="ann", **stop)
    second = client.place(instrument, "buy", 1, 110, client_id="bob", **stop)
    assert amended(client, first, **changes)["status"] == "pending"
    assert amended(client, first, **changes)["status"] == "pending"
    client.place(instrument, "sell", 1, 107, client_id="tom")
    trade_at(client, instrument, 105)
    filled = [client.order(order["order_id"])["filled_quantity"] for order in (first, second)]
    assert filled == ([1, 0] if keeps_place else [0, 1])


@ON_UVICORN
def test_a_waiting_order_waits_for_its_new_trigger_price(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 2, 90, type="stop_limit", trigger_price=105, client_id="ann")
    sequence = client.book(instrument)["sequence"]
    changed = amended(client, order, trigger_price=107, price=91)
    assert (changed["trigger_price"], changed["price"], changed["triggered_at"]) == (107, 91, None)
    assert client.book(instrument)["sequence"] == sequence + 1
    trade_at(client, instrument, 106)
    assert client.order(order["order_id"]) == changed
    trade_at(client, instrument, 107)
    assert client.order(order["order_id"])["status"] == "open"
    _, error = amend(client, order, "by id", trigger_price=120)
    assert error["reason"] == "not_applicable"


# --- amends that trade, and time --------------------------------------------------------------------------


@ON_UVICORN
@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({}, ("partially_filled", None, 2, 5)),
        ({"self_trade_prevention": "cancel_maker"}, ("partially_filled", None, 1, 6)),
        ({"self_trade_prevention": "cancel_taker"}, ("cancelled", "self_trade", 0, 7)),
        ({"self_trade_prevention": "cancel_both"}, ("cancelled", "self_trade", 0, 7)),
        ({"self_trade_prevention": "decrement"}, ("partially_filled", None, 1, 5)),
        ({"time_in_force": "gtd", "expires_at": IN_A_MONTH}, ("partially_filled", None, 2, 5)),
    ],
)
def test_an_amend_that_crosses_trades_with_the_orders_self_trade_prevention(
    client: Client, instrument: str, instructions: dict[str, Any], expected: Any
) -> None:
    client.place(instrument, "sell", 1, 101, client_id="ann")
    client.place(instrument, "sell", 1, 102, client_id="bob")
    order = client.place(instrument, "buy", 5, 99, client_id="ann", **instructions)
    status, document = amend(client, order, "by id and client", price=103, quantity=7)
    assert (status, outcome(check_order(document))) == (200, expected)
    for fill in document["trades"]:
        assert fill["liquidity"] == "taker"
        assert fill["price"] in (101, 102)
    assert client.order(order["order_id"]) == document


@ON_UVICORN
def test_an_order_that_enters_again_is_not_one_more_order(
    client: Client, market: Market, instrument: str
) -> None:
    """It has a place if its client has as many open orders as may be."""
    market.set_bounds(instrument, open_orders_max=1)
    order = client.place(instrument, "buy", 1, 10)
    assert outcome(amended(client, order, price=11, quantity=2)) == ("open", None, 0, 2)
    assert client.place(instrument, "buy", 1, 10)["reason"] == "too_many_orders"


@ON_UVICORN
def test_the_new_quantity_is_the_total(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 10, 99)
    client.place(instrument, "sell", 4, 99, client_id="bob")
    assert outcome(amended(client, order, quantity=8)) == ("partially_filled", None, 4, 4)
    assert outcome(amended(client, order, quantity=12)) == ("partially_filled", None, 4, 8)
    client.place(instrument, "sell", 8, 99, client_id="bob")
    assert outcome(client.order(order["order_id"])) == ("filled", None, 12, 0)


@ON_UVICORN
def test_an_order_expires_at_its_new_time(client: Client, instrument: str) -> None:
    order = client.place(instrument, "buy", 1, 10, time_in_force="gtd", expires_at=IN_A_MONTH)
    seconds = 0.3
    while amend(client, order, "by id", expires_at=later(seconds=seconds))[0] != 200:
        assert seconds < PATIENCE_SECONDS
        seconds *= 2
    wait_until(lambda: client.order(order["order_id"])["reason"] == "expired", "the order expires")
    assert client.levels(instrument) == ([], [])


@ON_UVICORN
@pytest.mark.parametrize("waits", [False, True])
def test_an_order_does_not_expire_at_its_old_time(client: Client, instrument: str, waits: bool) -> None:
    """Before the check, another order has expired, whose time is later than that old one."""
    trigger = {"type": "stop_limit", "trigger_price": 20} if waits else {}
    body = order_body(instrument, "buy", 1, 10, **trigger)
    seconds = 0.3
    while True:  # until an amend comes in time
        order = place_for_a_moment(client, body, seconds=seconds)
        status, document = amend(client, order, "by id", expires_at=IN_TWO_MONTHS)
        if status == 200:
            break
        assert seconds < PATIENCE_SECONDS, document
        seconds *= 2
    assert document["expires_at"] == IN_TWO_MONTHS
    other = order
    while other["expires_at"] <= order["expires_at"]:
        other = place_for_a_moment(client, body)
    wait_until(lambda: client.order(other["order_id"])["reason"] == "expired", "another order expires")
    assert client.order(order["order_id"]) == document
