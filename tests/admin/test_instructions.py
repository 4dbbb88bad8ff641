"""The admin's pages of orders with instructions: lists, filters, events, cancels, switches."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from base.times import time_text
from tests.admin.browser import Browser
from tests.admin.conftest import ON_UVICORN, Place
from tests.system.exchange import RunningExchange, wait_until

pytestmark = ON_UVICORN

ORDERS, INSTRUMENTS, AUDIT = "orders/order/", "instruments/instrument/", "operators/auditrecord/"
CLIENT = "instructed"
NAMES = ("gtd", "waiting", "limit when triggered", "at once", "decremented", "decrementing")


@pytest.fixture(scope="module")
def orders(place: Place) -> dict[str, dict[str, Any]]:
    """Orders of one client in SOL-USD, by name."""
    others: dict[str, Any] = {"client_id": CLIENT, "instrument": "SOL-USD"}
    later = time_text(datetime.now(UTC) + timedelta(days=1))
    requests: dict[str, dict[str, Any]] = {
        "gtd": {"price": 20, "time_in_force": "gtd", "expires_at": later, "post_only": True},
        "waiting": {"type": "stop", "price": None, "trigger_price": 900},
        "limit when triggered": {"type": "stop_limit", "price": 905.5, "trigger_price": 901},
        "at once": {"price": 21, "time_in_force": "ioc"},
        "decremented": {"side": "sell", "price": 800, "quantity": 5},
        "decrementing": {"price": 800, "quantity": 2, "self_trade_prevention": "decrement"},
    }
    placed = {}
    for name, request in requests.items():
        answer = place(**others, **request)
        assert answer.status_code == 201, answer.text
        placed[name] = answer.json()
    return placed


def amend(exchange: RunningExchange, order: dict[str, Any], **changes: Any) -> None:
    answer = exchange.post(f"/orders/{order['order_id']}/amend", json=changes)
    assert answer.status_code == 200, answer.text


def row_of(page_text: str, order_id: str) -> str:
    """Return the text of an order's row in a list, without tags."""
    (row,) = (row for row in re.findall(r"<tr.*?</tr>", page_text, re.DOTALL) if order_id in row)
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())


def test_the_list_shows_terms_and_instructions(browser: Browser, orders: dict[str, Any]) -> None:
    text = browser.get(ORDERS, client_id__exact=CLIENT).text
    rows = {name: row_of(text, order["order_id"]) for name, order in orders.items()}
    assert "open SOL-USD instructed buy limit 20 gtd · post-only 0 / 1" in rows["gtd"]
    assert "pending SOL-USD instructed buy stop from 900 0 / 1" in rows["waiting"]
    assert "pending SOL-USD instructed buy stop limit 905.5 from 901 0 / 1" in rows["limit when triggered"]
    assert "cancelled unfilled_ioc SOL-USD instructed buy limit 21 ioc 0 / 1" in rows["at once"]
    assert "cancelled self_trade SOL-USD instructed buy limit 800 decrement 0 / 2" in rows["decrementing"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status__exact": "pending"}, {"waiting", "limit when triggered"}),
        ({"type__exact": "stop_limit"}, {"limit when triggered"}),
        ({"time_in_force__exact": "gtd"}, {"gtd"}),
        ({"time_in_force__exact": "ioc"}, {"waiting", "at once"}),
        ({"reason__exact": "self_trade"}, {"decrementing"}),
    ],
)
def test_orders_are_found_by_their_instructions(
    browser: Browser, orders: dict[str, Any], query: dict[str, str], found: set[str]
) -> None:
    page = browser.get(ORDERS, client_id__exact=CLIENT, **query)
    assert set(page.rows) == {orders[name]["order_id"] for name in found}
    overview = browser.get(ORDERS)
    assert all(f"?{name}={value}" in overview.links for name, value in query.items())


def test_an_orders_page_shows_its_instructions_and_events(
    exchange: RunningExchange, browser: Browser, orders: dict[str, Any]
) -> None:
    order = orders["gtd"]
    amend(exchange, order, quantity=0.5)
    amend(exchange, order, price=22)
    text = browser.get(f"{ORDERS}{order['order_id']}/change/").text
    assert order["expires_at"].partition("T")[2] in text
    shown = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert "Time in force gtd" in shown
    assert "Post-only yes" in shown
    assert re.search(r"withdrawn 20 0\.5 .*reduced 20 1 ", shown), shown
    untouched = browser.get(f"{ORDERS}{orders['at once']['order_id']}/change/").text
    assert "it has not been amended, triggered or reduced" in untouched


def test_a_prevented_match_is_on_the_pages_of_both_orders(browser: Browser, orders: dict[str, Any]) -> None:
    maker, taker = (orders[name]["order_id"] for name in ("decremented", "decrementing"))
    for order_id, other_id in ((maker, taker), (taker, maker)):
        page = browser.get(f"{ORDERS}{order_id}/change/")
        assert f"/admin/{ORDERS}{other_id}/change/" in page.links
        assert "2 with" in page.text


def test_an_operator_cancels_a_waiting_order_and_is_named_in_the_trail(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    waiting = place(type="stop", price=None, trigger_price=500_000, client_id="waits").json()
    assert waiting["status"] == "pending"
    page = browser.cancel([waiting["order_id"]], q="waits")
    assert page.messages == {"success": "1 cancelled, 0 no longer open, 0 failed."}
    order = exchange.get(f"/orders/{waiting['order_id']}").json()
    assert (order["status"], order["reason"]) == ("cancelled", "operator")
    trail = row_of(browser.get(AUDIT, q=waiting["order_id"], act__exact="cancel").text, waiting["order_id"])
    assert "admin" in trail
    assert "status: pending → cancelled" in trail


def test_armed_switches_are_listed(exchange: RunningExchange, browser: Browser) -> None:
    switch = {"client_id": "switched", "timeout_seconds": 3_600}
    answer = exchange.post("/orders/cancel-after", json=switch)
    page = browser.get("orders/cancelafter/", q="switched")
    assert f'datetime="{answer.json()["cancel_at"]}"' in page.text
    assert "switched" not in browser.get("orders/cancelafter/", q="switch").text
    exchange.post("/orders/cancel-after", json={**switch, "timeout_seconds": 0})
    assert "datetime=" not in browser.get("orders/cancelafter/", q="switched").text


def test_an_instruments_self_trade_prevention_is_the_default_of_its_orders(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    limits = {"min_quantity": "1", "max_quantity": "1000", "min_price": "1", "max_price": "1000"}
    form = {**limits, "status": "active", "_save": "Save"}
    grid = {"symbol": "STP-USD", "tick_size": "1", "lot_size": "1", "partition": "0"}
    browser.post(f"{INSTRUMENTS}add/", {**form, **grid})
    (key,) = browser.get(INSTRUMENTS, q="STP-USD").rows

    def prevention() -> str | None:
        answer = place(instrument="STP-USD", price=1)
        return answer.json()["self_trade_prevention"] if answer.status_code == 201 else None

    wait_until(lambda: prevention() == "none", "an order is accepted")
    browser.post(f"{INSTRUMENTS}{key}/change/", {**form, "self_trade_prevention": "cancel_both"})
    wait_until(lambda: prevention() == "cancel_both", "the new default applies")
    assert "self_trade_prevention: none → cancel_both" in browser.get(AUDIT, q="STP-USD").text
