"""Cancels of several orders, and the dead man's switch."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from base.times import parse_time
from tests.contract.client import TIME, Answer, Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.instructed import UNKNOWN_ID
from tests.contract.market import Market
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import wait_until

Place = Callable[..., str]


@pytest.fixture
def place(client: Client, instrument: str, client_id: str) -> Place:
    """Return a function that places an order of the client, which never trades, and returns its id."""

    def send(side: str = "buy", **more: Any) -> str:
        price = 10 if side == "buy" else 90
        order = {"client_id": client_id} | more
        placed = client.place(order.pop("instrument", instrument), side, 1, price, **order)
        assert placed["status"] in ("open", "pending")
        return str(placed["order_id"])

    return send


def cancelled(answer: Answer) -> tuple[set[str], set[str], set[str]]:
    """Return the ids that are cancelled, not open, and not found."""
    assert answer.status == 200, answer.text
    document = answer.json
    assert document.keys() == {"cancelled", "cancelled_count", "not_open", "not_found"}
    assert document["cancelled_count"] == len(document["cancelled"])
    sets = set(document["cancelled"]), set(document["not_open"]), set(document["not_found"])
    assert sum(map(len, sets)) == sum(len(document[name]) for name in ("cancelled", "not_open", "not_found"))
    return sets


def open_ids(client: Client, client_id: str) -> set[str]:
    """Return the ids of the client's orders that rest or wait."""
    query = f"client_id={client_id}&status=resting&status=pending&limit=1000"
    return {order["order_id"] for order in client.get(f"/orders?{query}").json["orders"]}


# --- by ids and by key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names_client", [False, True])
def test_orders_are_cancelled_by_their_ids(
    client: Client, place: Place, client_id: str, names_client: bool
) -> None:
    resting, waiting = place(), place(type="stop_limit", trigger_price=20)
    ended, foreign, kept = place(), place(client_id="eve"), place()
    client.cancel(ended)
    ids = [ended, waiting, UNKNOWN_ID, foreign, resting]
    body: dict[str, Any] = {"order_ids": ids} | ({"client_id": client_id} if names_client else {})
    found = cancelled(client.post("/orders/cancel", body))
    eves = {foreign}
    assert found == (
        {resting, waiting} | (set() if names_client else eves),
        {ended},
        {UNKNOWN_ID} | (eves if names_client else set()),
    )
    assert open_ids(client, client_id) == {kept}
    assert client.order(waiting)["reason"] == client.order(resting)["reason"] == "client_request"
    assert (client.order(foreign)["status"] == "open") is names_client
    again = cancelled(client.post("/orders/cancel", body))
    assert again == (set(), {ended} | found[0], found[2])


@ON_UVICORN
def test_a_hundred_orders_are_cancelled_at_once(client: Client, place: Place, client_id: str) -> None:
    ids = [place() for _ in range(3)]
    unknown = [f"01990000-0000-7000-8000-{number:012}" for number in range(97)]
    found = cancelled(client.post("/orders/cancel", {"order_ids": [*unknown, *ids]}))
    assert found == (set(ids), set(), set(unknown))


@ON_UVICORN
def test_an_order_is_cancelled_by_its_key(client: Client, place: Place, client_id: str) -> None:
    first, second = place(idempotency_key="first / ü"), place(idempotency_key="second")
    body = {"client_id": client_id, "idempotency_key": "first / ü"}
    assert cancelled(client.post("/orders/cancel", body)) == ({first}, set(), set())
    assert cancelled(client.post("/orders/cancel", body)) == (set(), {first}, set())
    for missing in (body | {"idempotency_key": "third"}, body | {"client_id": f"{client_id}-b"}):
        found = cancelled(client.post("/orders/cancel", missing))
        assert found == (set(), set(), {missing["idempotency_key"]})
    assert open_ids(client, client_id) == {second}


# --- everything of a client -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({}, "bid ask waiting elsewhere"),
        ({"instrument": True}, "bid ask waiting"),
        ({"side": "buy"}, "bid waiting elsewhere"),
        ({"instrument": True, "side": "sell"}, "ask"),
    ],
)
def test_all_orders_of_a_client_are_cancelled(
    client: Client, place: Place, client_id: str, narrowed: dict[str, Any], expected: str
) -> None:
    orders = {
        "bid": place(),
        "ask": place("sell", post_only=True),
        "waiting": place(type="take_profit_limit", trigger_price=5),
        "elsewhere": place(instrument="SOL-USD"),
    }
    other, ended = place(client_id=f"{client_id}-b"), place()
    client.cancel(ended)
    body = {"client_id": client_id} | narrowed
    if "instrument" in narrowed:
        body["instrument"] = client.order(ended)["instrument"]
    ids = {orders[name] for name in expected.split()}
    assert cancelled(client.post("/orders/cancel", body)) == (ids, set(), set())
    assert {client.order(order_id)["reason"] for order_id in ids} == {"client_request"}
    assert open_ids(client, client_id) == set(orders.values()) - ids
    assert client.order(other)["status"] == "open"
    assert cancelled(client.post("/orders/cancel", body)) == (set(), set(), set())
    client.post("/orders/cancel", {"client_id": client_id})


@ON_UVICORN
def test_orders_of_a_halted_instrument_are_cancelled(
    client: Client, market: Market, place: Place, instrument: str, client_id: str
) -> None:
    one, by_id = place(), place()
    market.change_status(instrument, "halted")
    assert cancelled(client.post("/orders/cancel", {"order_ids": [by_id]}))[0] == {by_id}
    body = {"client_id": client_id, "instrument": instrument}
    assert cancelled(client.post("/orders/cancel", body))[0] == {one}


@ON_UVICORN
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"client_id"}),
        ([], {"body"}),
        ({"order_ids": []}, {"order_ids"}),
        ({"order_ids": UNKNOWN_ID}, {"order_ids"}),
        ({"order_ids": ["1"]}, {"order_ids"}),
        ({"order_ids": [None]}, {"order_ids"}),
        ({"order_ids": None}, {"order_ids"}),
        ({"order_ids": [f"01990000-0000-7000-8000-{number:012}" for number in range(101)]}, {"order_ids"}),
        ({"order_ids": [UNKNOWN_ID, UNKNOWN_ID]}, {"order_ids"}),
        ({"order_ids": [UNKNOWN_ID], "idempotency_key": "k"}, {"order_ids"}),
        ({"order_ids": [UNKNOWN_ID], "instrument": "BTC-USD"}, {"order_ids"}),
        ({"order_ids": [UNKNOWN_ID], "side": "buy"}, {"order_ids"}),
        ({"order_ids": [UNKNOWN_ID], "client_id": ""}, {"client_id"}),
        ({"idempotency_key": "k"}, {"client_id"}),
        ({"idempotency_key": "", "client_id": "a"}, {"idempotency_key"}),
        ({"idempotency_key": "k", "client_id": "a", "side": "buy"}, {"idempotency_key"}),
        ({"idempotency_key": "k", "client_id": "a", "instrument": "BTC-USD"}, {"idempotency_key"}),
        ({"instrument": "BTC-USD"}, {"client_id"}),
        ({"side": "buy"}, {"client_id"}),
        ({"side": "bid", "client_id": "a"}, {"side"}),
        ({"instrument": "NO-USD", "client_id": "a"}, {"instrument"}),
        ({"client_id": "a b"}, {"client_id"}),
        ({"client_id": None}, {"client_id"}),
        ({"client_id": "a", "status": "open"}, {"status"}),
    ],
)
def test_a_cancel_in_none_of_the_three_forms_is_refused(client: Client, body: Any, fields: set[str]) -> None:
    assert client.post("/orders/cancel", body).refused_fields() == fields


# --- the dead man's switch --------------------------------------------------------------------------------


def set_switch(client: Client, client_id: str, seconds: int) -> Any:
    """Arm or disarm a switch. Return when it runs out, or None."""
    before = datetime.now(UTC)
    answer = client.post("/orders/cancel-after", {"client_id": client_id, "timeout_seconds": seconds})
    after = datetime.now(UTC)
    assert answer.status == 200, answer.text
    switch = answer.json
    assert switch.keys() == {"client_id", "timeout_seconds", "cancel_at"}
    assert (switch["client_id"], switch["timeout_seconds"]) == (client_id, seconds)
    if seconds == 0:
        assert switch["cancel_at"] is None
    else:
        assert TIME.fullmatch(switch["cancel_at"])
        millisecond, timeout = timedelta(milliseconds=1), timedelta(seconds=seconds)
        assert before - millisecond <= parse_time(switch["cancel_at"]) - timeout <= after
    return switch["cancel_at"]


def test_a_switch_that_runs_out_cancels_all_orders_and_disarms_itself(
    client: Client, place: Place, client_id: str
) -> None:
    other = place(client_id=f"{client_id}-b")
    set_switch(client, client_id, 86_400)
    ids = [place(), place("sell"), place(type="stop_limit", trigger_price=20), place(instrument="SOL-USD")]
    due = set_switch(client, client_id, 1)
    wait_until(lambda: not open_ids(client, client_id), "the switch has run out")
    for order in map(client.order, ids):
        assert (order["status"], order["reason"]) == ("cancelled", "cancel_after")
        assert order["updated_at"] >= due
    late = place()
    place(client_id=f"{client_id}-b")  # an armed switch would run out before this order
    assert open_ids(client, client_id) == {late}
    assert client.order(other)["status"] == "open"


@ON_UVICORN
def test_a_switch_that_is_set_again_or_disarmed_does_not_run_out(
    client: Client, place: Place, client_id: str
) -> None:
    again, disarmed, last = (f"{client_id}-{name}" for name in ("again", "disarmed", "last"))
    seconds = 1
    while True:  # until both are changed in time
        ids = [place(client_id=again), place(client_id=disarmed)]
        for name in (again, disarmed):
            set_switch(client, name, seconds)
        set_switch(client, again, 3_600)
        set_switch(client, disarmed, 0)
        if all(client.order(order_id)["status"] == "open" for order_id in ids):
            break
        assert seconds < PATIENCE_SECONDS
        seconds *= 2
    last_id = place(client_id=last)
    set_switch(client, last, seconds)  # runs out after the others would have
    wait_until(lambda: client.order(last_id)["reason"] == "cancel_after", "the last switch has run out")
    assert [client.order(order_id)["status"] for order_id in ids] == ["open", "open"]
    assert set_switch(client, disarmed, 0) is None  # harmless


@ON_UVICORN
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"timeout_seconds": 60}, {"client_id"}),
        ({"client_id": "a"}, {"timeout_seconds"}),
        ({"client_id": "", "timeout_seconds": 60}, {"client_id"}),
        *[
            ({"client_id": "a", "timeout_seconds": value}, {"timeout_seconds"})
            for value in (-1, 86_401, 1.5, 60.0, "60", True, None, [60], 10**30)
        ],
        ({"client_id": "a", "timeout_seconds": 60, "instrument": "BTC-USD"}, {"instrument"}),
        ({}, {"client_id", "timeout_seconds"}),
        (60, {"body"}),
    ],
)
def test_other_values_of_a_switch_are_refused(client: Client, body: Any, fields: set[str]) -> None:
    assert client.post("/orders/cancel-after", body).refused_fields() == fields
