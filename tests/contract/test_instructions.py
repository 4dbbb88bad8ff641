"""The instructions of orders: which fit together, and what becomes of an order that has them.

docs/orders.md has the rules. The engine's tests check each of them; these check that the exchange
follows them from the request to the answer. test_triggers.py has orders that wait, time and halts.
"""

import itertools
from typing import Any

import pytest

from tests.contract.client import Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.instructed import (
    LIMIT_TYPES,
    PREVENTIONS,
    TYPES,
    Outcome,
    later,
    outcome,
    results,
)
from tests.contract.market import Market

pytestmark = ON_UVICORN

IN_A_MONTH = later(days=30)


@pytest.mark.parametrize("order_type", TYPES)
def test_an_order_shows_all_its_instructions_and_their_defaults(
    client: Client, instrument: str, order_type: str
) -> None:
    price = 100 if order_type in LIMIT_TYPES else None
    trigger = {} if order_type in ("limit", "market") else {"trigger_price": "50.00"}
    order = client.place(instrument, "buy", 1, price, type=order_type, **trigger)
    assert (order["type"], order["price"]) == (order_type, price)
    assert order["time_in_force"] == ("gtc" if price else "ioc")
    assert (order["expires_at"], order["post_only"]) == (None, False)
    assert (order["self_trade_prevention"], order["prevented_quantity"]) == ("none", 0)
    assert (order["trigger_price"], order["triggered_at"]) == (50 if trigger else None, None)
    assert order["status"] == ("pending" if trigger else "open" if price else "cancelled")
    assert client.order(order["order_id"]) == order


# --- instructions that do not fit -------------------------------------------------------------------------

# Changes of a limit order, and the fields that the answer names.
MISFITS: list[tuple[dict[str, Any], set[str]]] = [
    ({"time_in_force": "day"}, {"time_in_force"}),
    ({"time_in_force": "GTC"}, {"time_in_force"}),
    ({"time_in_force": "gtd"}, {"expires_at"}),
    ({"expires_at": IN_A_MONTH}, {"expires_at"}),
    ({"time_in_force": "ioc", "expires_at": IN_A_MONTH}, {"expires_at"}),
    ({"time_in_force": "fok", "expires_at": IN_A_MONTH}, {"expires_at"}),
    ({"time_in_force": "gtd", "expires_at": later(seconds=-1)}, {"expires_at"}),
    ({"time_in_force": "gtd", "expires_at": later(days=401)}, {"expires_at"}),
    ({"time_in_force": "gtd", "expires_at": IN_A_MONTH.removesuffix("Z")}, {"expires_at"}),
    ({"time_in_force": "gtd", "expires_at": IN_A_MONTH.replace("Z", "4Z")}, {"expires_at"}),
    ({"time_in_force": "gtd", "expires_at": 4_000_000_000}, {"expires_at"}),
    ({"type": "market", "price": None, "time_in_force": "gtc"}, {"time_in_force"}),
    (
        {"type": "market", "price": None, "time_in_force": "gtd", "expires_at": IN_A_MONTH},
        {"time_in_force"},
    ),
    ({"type": "market", "price": None, "expires_at": IN_A_MONTH}, {"expires_at"}),
    ({"type": "stop", "price": None, "trigger_price": 9, "time_in_force": "gtc"}, {"time_in_force"}),
    ({"type": "market"}, {"price"}),
    ({"type": "stop", "trigger_price": 9}, {"price"}),
    ({"type": "take_profit", "trigger_price": 9}, {"price"}),
    ({"type": "stop_limit", "price": None, "trigger_price": 9}, {"price"}),
    ({"type": "stop", "price": None}, {"trigger_price"}),
    ({"type": "take_profit_limit"}, {"trigger_price"}),
    ({"trigger_price": 9}, {"trigger_price"}),
    ({"type": "market", "price": None, "trigger_price": 9}, {"trigger_price"}),
    ({"type": "stop_limit", "trigger_price": "9.999"}, {"trigger_price"}),
    ({"type": "stop_limit", "trigger_price": 0}, {"trigger_price"}),
    ({"type": "stop_limit", "trigger_price": "10000000.01"}, {"trigger_price"}),
    ({"time_in_force": "ioc", "post_only": True}, {"post_only"}),
    ({"time_in_force": "fok", "post_only": True}, {"post_only"}),
    ({"type": "market", "price": None, "post_only": True}, {"post_only"}),
    ({"type": "stop", "price": None, "trigger_price": 9, "post_only": True}, {"post_only"}),
    ({"post_only": "true"}, {"post_only"}),
    ({"post_only": 1}, {"post_only"}),
    ({"self_trade_prevention": "all"}, {"self_trade_prevention"}),
    ({"self_trade_prevention": True}, {"self_trade_prevention"}),
    ({"triggered_at": None}, {"triggered_at"}),
    (
        {"type": "stop", "time_in_force": "gtd", "post_only": True},
        {"price", "trigger_price", "time_in_force", "post_only"},
    ),
]


@pytest.mark.parametrize(("changes", "fields"), MISFITS)
def test_instructions_that_do_not_fit_are_named(
    client: Client, instrument: str, changes: dict[str, Any], fields: set[str]
) -> None:
    body = order_body(instrument, "buy", 1, 10) | changes
    refused = client.post("/orders", body)
    assert refused.refused_fields() == fields
    tested = client.post("/orders/test", body)
    assert (tested.status, tested.json) == (400, refused.json)
    (result,) = results(client.post("/orders/batch", {"orders": [body]}))
    assert result == {"status": 400, **refused.json}
    assert client.book(instrument)["sequence"] == 0
    assert client.get("/orders", instrument=instrument, client_id="client-A").json["orders"] == []


def misfits(order: dict[str, Any]) -> set[str]:
    """Return the fields that do not fit together, by the rules for `POST /orders` in docs/api.md."""
    has_limit, waits = order["type"] in LIMIT_TYPES, order["type"] not in ("limit", "market")
    time_in_force = order.get("time_in_force", "gtc" if has_limit else "ioc")
    rules = {
        "price": has_limit == ("price" in order),
        "trigger_price": waits == ("trigger_price" in order),
        "time_in_force": has_limit or time_in_force in ("ioc", "fok"),
        "expires_at": ("expires_at" in order) == (time_in_force == "gtd"),
        "post_only": not order.get("post_only") or (has_limit and time_in_force in ("gtc", "gtd")),
    }
    if not rules["time_in_force"] and "expires_at" not in order:
        rules["expires_at"] = True  # nothing is missing in an order that can't be gtd
    return {field for field, holds in rules.items() if not holds}


def test_every_combination_of_instructions_is_taken_or_refused(client: Client, instrument: str) -> None:
    choices: dict[str, tuple[Any, ...]] = {
        "type": TYPES,
        "time_in_force": (None, "gtc", "ioc", "fok", "gtd"),
        "post_only": (None, False, True),
        "price": (None, 10),
        "trigger_price": (None, 20),
        "expires_at": (None, IN_A_MONTH),
    }
    bodies = []
    for number, values in enumerate(itertools.product(*choices.values())):
        given = {name: value for name, value in zip(choices, values, strict=True) if value is not None}
        prevention = PREVENTIONS[number % len(PREVENTIONS)]
        base = order_body(instrument, "buy", 1, client_id="combiner", self_trade_prevention=prevention)
        bodies.append(base | given)
    taken = 0
    for start in range(0, len(bodies), 100):
        sent = bodies[start : start + 100]
        for body, result in zip(sent, results(client.post("/orders/batch", {"orders": sent})), strict=True):
            if expected := misfits(body):
                assert result["status"] == 400, body
                assert result["error"]["fields"].keys() == expected, body
                continue
            assert result["status"] == 201, body
            for name, value in body.items():
                assert result["order"][name] == value, body
            taken += result["order"]["status"] in ("open", "pending")
    # Of limit orders gtc (stated or not) and gtd come to rest, with post_only left out, false or true.
    # Of orders that wait, ioc and fok are taken too; of market kinds, ioc may be stated or not.
    assert taken == 3 * 3 + 2 * (3 * 3 + 2 * 2) + 2 * (3 * 2)
    assert client.book(instrument)["sequence"] == taken


# --- time in force and post-only --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"price": 100, "time_in_force": "gtc"}, ("partially_filled", None, 2, 3)),
        ({"price": 100, "time_in_force": "gtd", "expires_at": IN_A_MONTH}, ("partially_filled", None, 2, 3)),
        ({"price": 100, "time_in_force": "ioc"}, ("cancelled", "unfilled_ioc", 2, 3)),
        ({"price": 99, "time_in_force": "ioc"}, ("cancelled", "unfilled_ioc", 0, 5)),
        ({"price": 101, "quantity": 4, "time_in_force": "ioc"}, ("filled", None, 4, 0)),
        ({"price": 101, "time_in_force": "fok"}, ("cancelled", "unfilled_fok", 0, 5)),
        ({"price": 100, "quantity": 3, "time_in_force": "fok"}, ("cancelled", "unfilled_fok", 0, 3)),
        ({"price": 101, "quantity": 4, "time_in_force": "fok"}, ("filled", None, 4, 0)),
        ({"type": "market"}, ("cancelled", "no_liquidity", 4, 1)),
        ({"type": "market", "time_in_force": "ioc"}, ("cancelled", "no_liquidity", 4, 1)),
        ({"type": "market", "time_in_force": "fok"}, ("cancelled", "unfilled_fok", 0, 5)),
        ({"type": "market", "quantity": 4, "time_in_force": "fok"}, ("filled", None, 4, 0)),
        ({"price": 99, "post_only": True}, ("open", None, 0, 5)),
        ({"price": 100, "post_only": True}, ("rejected", "would_cross", 0, 5)),
        (
            {"price": 105, "post_only": True, "time_in_force": "gtd", "expires_at": IN_A_MONTH},
            ("rejected", "would_cross", 0, 5),
        ),
    ],
)
def test_a_time_in_force_decides_what_becomes_of_the_remainder(
    client: Client, instrument: str, order: dict[str, Any], expected: Outcome
) -> None:
    asks = [(100, 2), (101, 2)]
    for price, quantity in asks:
        client.place(instrument, "sell", quantity, price)
    body = {"type": "limit", "quantity": 5} | order
    placed = client.place(instrument, "buy", **body)
    assert outcome(placed) == expected
    for name, value in body.items():
        assert placed[name] == value, name
    assert client.order(placed["order_id"]) == placed
    filled, rests = expected[2], expected[0] in ("open", "partially_filled")
    left = {0: asks, 2: asks[1:], 4: []}[filled]
    bids = [(body["price"], expected[3], 1)] if rests else []
    assert client.levels(instrument) == (bids, [(price, quantity, 1) for price, quantity in left])
    assert client.book(instrument)["sequence"] == 2 + filled // 2 + rests


@pytest.mark.parametrize("mode", ["none", "cancel_maker"])
def test_a_post_only_order_is_rejected_even_if_it_crosses_an_own_order(
    client: Client, instrument: str, mode: str
) -> None:
    own = client.place(instrument, "sell", 1, 100, client_id="ann")
    instructions = {"client_id": "ann", "post_only": True, "self_trade_prevention": mode}
    order = client.place(instrument, "buy", 1, 100, **instructions)
    assert outcome(order) == ("rejected", "would_cross", 0, 1)
    assert client.order(own["order_id"])["status"] == "open"


# --- self-trade prevention --------------------------------------------------------------------------------

# What becomes of ann's ask of 3, of bob's ask of 5 behind it (what is filled), and of ann's buy of 4.
ENCOUNTERS: dict[str, tuple[Outcome, int, Outcome]] = {
    "none": (("filled", None, 3, 0), 1, ("filled", None, 4, 0)),
    "cancel_taker": (("open", None, 0, 3), 0, ("cancelled", "self_trade", 0, 4)),
    "cancel_maker": (("cancelled", "self_trade", 0, 3), 4, ("filled", None, 4, 0)),
    "cancel_both": (("cancelled", "self_trade", 0, 3), 0, ("cancelled", "self_trade", 0, 4)),
    "decrement": (("cancelled", "self_trade", 0, 0), 1, ("cancelled", "self_trade", 1, 0)),
}


@pytest.mark.parametrize("price", [100, None], ids=["limit", "market"])
@pytest.mark.parametrize("mode", PREVENTIONS)
def test_an_order_that_meets_an_own_order(
    client: Client, instrument: str, mode: str, price: int | None
) -> None:
    own = client.place(instrument, "sell", 3, 100, client_id="ann", self_trade_prevention="cancel_both")
    other = client.place(instrument, "sell", 5, 100, client_id="bob")
    order = client.place(instrument, "buy", 4, price, client_id="ann", self_trade_prevention=mode)
    expected_own, filled_by_other, expected = ENCOUNTERS[mode]
    assert (outcome(order), order["self_trade_prevention"]) == (expected, mode)
    own = client.order(own["order_id"])
    assert (outcome(own), own["self_trade_prevention"]) == (expected_own, "cancel_both")
    assert client.order(other["order_id"])["filled_quantity"] == filled_by_other
    prevented = 3 if mode == "decrement" else 0
    assert (own["prevented_quantity"], order["prevented_quantity"]) == (prevented, prevented)
    trades = client.get("/trades", instrument=instrument).json["trades"]
    assert sum(trade["quantity"] for trade in trades) == order["filled_quantity"]
    assert client.order(order["order_id"]) == order


def test_decrement_leaves_the_rest_of_the_larger_order(client: Client, instrument: str) -> None:
    ask = client.place(instrument, "sell", 9, 100, client_id="ann")
    client.place(instrument, "buy", 2, 100, client_id="bob")
    bid = client.place(instrument, "buy", 3, 100, client_id="ann", self_trade_prevention="decrement")
    assert outcome(bid) == ("cancelled", "self_trade", 0, 0)
    ask = client.order(ask["order_id"])
    assert outcome(ask) == ("partially_filled", None, 2, 4)
    assert (ask["quantity"], ask["prevented_quantity"]) == (9, 3)
    assert client.levels(instrument) == ([], [(100, 4, 1)])
    rest = client.place(instrument, "buy", 6, 101, client_id="ann", self_trade_prevention="decrement")
    assert (rest["status"], rest["prevented_quantity"]) == ("open", 4)
    assert client.levels(instrument) == ([(101, 2, 1)], [])


def test_fills_before_an_encounter_stand(client: Client, instrument: str) -> None:
    client.place(instrument, "sell", 1, 100, client_id="bob")
    client.place(instrument, "sell", 5, 100, client_id="ann")
    order = client.place(instrument, "buy", 4, 100, client_id="ann", self_trade_prevention="cancel_taker")
    assert outcome(order) == ("cancelled", "self_trade", 1, 3)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("cancel_maker", ("filled", None, 5, 0)), ("decrement", ("cancelled", "unfilled_fok", 0, 5))],
)
def test_fill_or_kill_counts_only_what_may_trade(
    client: Client, instrument: str, mode: str, expected: Outcome
) -> None:
    own = client.place(instrument, "sell", 3, 100, client_id="ann")
    client.place(instrument, "sell", 5, 100, client_id="bob")
    instructions = {"client_id": "ann", "time_in_force": "fok", "self_trade_prevention": mode}
    too_many = client.place(instrument, "buy", 6, 100, **instructions)
    assert outcome(too_many) == ("cancelled", "unfilled_fok", 0, 6)
    assert client.levels(instrument) == ([], [(100, 8, 2)])
    assert outcome(client.place(instrument, "buy", 5, 100, **instructions)) == expected
    own_status = "cancelled" if mode == "cancel_maker" else "open"
    assert client.order(own["order_id"])["status"] == own_status


def test_the_instruments_default_applies_to_orders_that_name_no_prevention(
    client: Client, market: Market, instrument: str
) -> None:
    first = client.place(instrument, "sell", 1, 100, client_id="ann")
    market.set_bounds(instrument, self_trade_prevention="cancel_maker")
    body = order_body(instrument, "buy", 1, 100, client_id="ann")
    assert client.post("/orders/test", body).json["self_trade_prevention"] == "cancel_maker"
    stated = client.place(instrument, "buy", 1, 100, client_id="ann", self_trade_prevention="cancel_taker")
    assert outcome(stated) == ("cancelled", "self_trade", 0, 1)
    left_out = client.post("/orders", body).json
    assert (left_out["status"], left_out["self_trade_prevention"]) == ("open", "cancel_maker")
    null = client.place(instrument, "sell", 1, 99, client_id="ann", self_trade_prevention=None)
    assert (null["status"], null["self_trade_prevention"]) == ("open", "cancel_maker")
    for order in (first, left_out):
        assert client.order(order["order_id"])["reason"] == "self_trade"
    own = client.place(instrument, "buy", 1, 99, client_id="ann", self_trade_prevention="none")
    assert own["status"] == "filled"
