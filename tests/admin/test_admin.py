"""The admin's pages: lists, searches and filters, read-only rows, and actions of the worker."""

import re
from typing import Any

import psutil
import pytest

from tests.admin.browser import Browser
from tests.admin.conftest import ON_UVICORN, Place
from tests.system.exchange import RunningExchange, wait_until

pytestmark = ON_UVICORN

READ_ONLY = (
    "orders/order/",
    "orders/trade/",
    "orders/cancelafter/",
    "marketdata/candle/",
    "marketdata/booksequence/",
    "matching/checkpoint/",
)
ORDERS, TRADES, INSTRUMENTS = "orders/order/", "orders/trade/", "instruments/instrument/"


@pytest.fixture(scope="module")
def traded(exchange: RunningExchange, place: Place) -> dict[str, Any]:
    """A maker, the taker that filled it in part, and the id of their trade. A switch is armed."""
    maker = place(side="sell", price=70_000.5, quantity=3, instrument="ETH-USD", client_id="maker").json()
    taker = place(
        price=70_001,
        quantity=1,
        instrument="ETH-USD",
        client_id="taker",
        idempotency_key="a key, with spaces",
    ).json()
    assert taker["status"] == "filled"
    switch = {"client_id": "maker", "timeout_seconds": 3_600}
    assert exchange.post("/orders/cancel-after", json=switch).status_code == 200
    return {"maker": maker, "taker": taker, "trade_id": taker["trades"][0]["trade_id"]}


def status_of(exchange: RunningExchange, order_id: str) -> str:
    return str(exchange.get(f"/orders/{order_id}").json()["status"])


def instrument_key(browser: Browser, symbol: str) -> str:
    (key,) = browser.get(INSTRUMENTS, q=symbol).rows
    return key


def test_the_login_page_lets_in_only_the_right_password(exchange: RunningExchange, password: str) -> None:
    with Browser(exchange.url) as stranger:
        page = stranger.get(ORDERS)
        assert page.path == "/admin/login/"
        assert "Tradepost" in page.text
        assert stranger.log_in("admin", "wrong").path == "/admin/login/"
        assert stranger.log_in("admin", password).path == "/admin/"


def test_the_index_links_to_every_list(browser: Browser, traded: dict[str, Any]) -> None:
    links = browser.get("").links
    for path in (*READ_ONLY, INSTRUMENTS):
        assert f"/admin/{path}" in links


@pytest.mark.parametrize("path", READ_ONLY)
def test_rows_that_the_worker_wrote_are_read_only(
    browser: Browser, traded: dict[str, Any], path: str
) -> None:
    page = browser.get(path)
    assert page.status == 200
    row = next(link for link in page.links if re.fullmatch(rf"/admin/{path}[^/?]+/change/.*", link))
    shown = browser.get(row.removeprefix("/admin/"))
    assert shown.status == 200
    assert not shown.editable
    assert browser.get(f"{path}add/").status == 403
    assert browser.post(row.removeprefix("/admin/"), {"status": "filled", "_save": "Save"}).status == 403
    assert (
        browser.post(row.removeprefix("/admin/").replace("/change/", "/delete/"), {"post": "yes"}).status
        == 403
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status__exact": "filled"}, {"taker"}),
        ({"status__exact": "partially_filled"}, {"maker"}),
        ({"side__exact": "sell"}, {"maker"}),
        ({"type__exact": "limit"}, {"maker", "taker"}),
        ({"type__exact": "market"}, set()),
        ({"q": "taker"}, {"taker"}),
        ({"q": "a key, with spaces"}, {"taker"}),
        ({"q": "taker a key, with spaces"}, {"taker"}),
        ({"q": "maker a key, with spaces"}, set()),
        ({"q": "nobody"}, set()),
        ({"q": "7 OR 1=1"}, set()),
    ],
)
def test_orders_can_be_filtered_and_searched(
    browser: Browser, traded: dict[str, Any], query: dict[str, str], found: set[str]
) -> None:
    query = {**query, "instrument__id__exact": instrument_key(browser, "ETH-USD")}
    page = browser.get(ORDERS, **query)
    assert page.status == 200
    assert set(page.rows) == {traded[name]["order_id"] for name in found}


def test_a_search_finds_orders_and_trades_by_id(browser: Browser, traded: dict[str, Any]) -> None:
    order_id, trade_id = traded["maker"]["order_id"], traded["trade_id"]
    assert browser.get(ORDERS, q=order_id).rows == [order_id]
    assert browser.get(ORDERS, q=trade_id).rows == []
    for text in (trade_id, order_id, traded["taker"]["order_id"]):
        assert trade_id in browser.get(TRADES, q=text).text
    assert trade_id not in browser.get(TRADES, q="nothing").text


def test_lists_can_be_narrowed_down_to_a_date(browser: Browser, traded: dict[str, Any]) -> None:
    taker = traded["taker"]  # its order and its trade are of the same moment
    year, month, day = (int(part) for part in taker["created_at"][:10].split("-"))
    for path, field, key in (
        (ORDERS, "created_at", taker["order_id"]),
        (TRADES, "timestamp", traded["trade_id"]),
        ("marketdata/candle/", "time", "ETH-USD"),
    ):
        date = {f"{field}__year": year, f"{field}__month": month}
        page = browser.get(path, **date)
        assert any(f"{field}__day={day}" in link for link in page.links), path
        assert key in browser.get(path, **date, **{f"{field}__day": day}).text
        assert 'id="result_list"' not in browser.get(path, **{f"{field}__year": year - 1}).text
    # Django redirects from an invalid filter to the whole list.
    assert browser.get(ORDERS, created_at__year="x").status == 200


def test_orders_trades_and_instruments_link_to_each_other(browser: Browser, traded: dict[str, Any]) -> None:
    order_id, trade_id = traded["maker"]["order_id"], traded["trade_id"]
    instrument = f"/admin/instruments/instrument/{instrument_key(browser, 'ETH-USD')}/change/"
    order = browser.get(f"{ORDERS}{order_id}/change/")
    assert instrument in order.links
    assert f"/admin/orders/trade/?q={order_id}" in order.links
    assert "70000.5" in order.text
    trade = browser.get(f"{TRADES}{trade_id}/change/")
    assert {
        instrument,
        *(f"/admin/{ORDERS}{traded[name]['order_id']}/change/" for name in ("maker", "taker")),
    } <= {*trade.links}
    listed = browser.get(TRADES, q=order_id)
    assert f"/admin/{ORDERS}{order_id}/change/" in listed.links


def test_the_worker_cancels_the_selected_orders(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    resting = [place(client_id="many", price=50_000 + number).json()["order_id"] for number in range(30)]
    unfilled = place(client_id="many", type="market", price=None, side="sell", instrument="SOL-USD").json()
    assert unfilled["status"] == "cancelled"
    page = browser.cancel([*resting, unfilled["order_id"]], q="many")
    assert page.messages == {"success": "30 cancelled, 0 no longer open, 0 failed."}
    orders = exchange.get("/orders", params={"client_id": "many", "limit": 100}).json()["orders"]
    assert {order["order_id"] for order in orders if order["status"] == "cancelled"} >= set(resting)
    levels = exchange.get("/orderbook", params={"levels": 1000}).json()["bids"]
    assert not [level for level in levels if 50_000 <= level["price"] < 50_030]
    page = browser.cancel(resting, q="many")
    assert page.messages == {"warning": "None of the selected orders is open or pending."}
    history = browser.get(f"{ORDERS}{resting[0]}/history/")
    assert "Cancelled through the matching worker." in history.text


def test_a_halt_lasts_until_the_resume(exchange: RunningExchange, browser: Browser, place: Place) -> None:
    key = instrument_key(browser, "SOL-USD")
    resting = place(instrument="SOL-USD", price=5).json()["order_id"]
    page = browser.act(INSTRUMENTS, "halt", [key])
    assert page.messages == {"success": "SOL-USD: halted."}
    refused = place(instrument="SOL-USD", price=5)
    if refused.status_code == 201:  # the worker knew of the halt before the API process
        assert (refused.json()["status"], refused.json()["reason"]) == ("rejected", "instrument_halted")
    else:
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "instrument_halted"
    assert exchange.post(f"/orders/{resting}/cancel").json()["status"] == "cancelled"
    assert place(price=60_001).json()["status"] == "open"  # other instruments trade on
    assert browser.act(INSTRUMENTS, "halt", [key]).messages == {"info": "Nothing to do: halted already."}
    assert browser.act(INSTRUMENTS, "resume", [key]).messages == {"success": "SOL-USD: active."}
    wait_until(lambda: place(instrument="SOL-USD", price=5).status_code == 201, "orders are accepted again")


def test_the_form_changes_an_instruments_status_and_limits_but_not_its_grid(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    # An instrument that has orders can't be moved to another partition.
    assert place(instrument="SOL-USD", price=5).status_code == 201
    path = f"{INSTRUMENTS}{instrument_key(browser, 'SOL-USD')}/change/"
    page = browser.get(path)
    assert "Fixed once the instrument exists." in page.text
    form = {name: value for name, value in page.inputs().items() if name.startswith(("min_", "max_"))}
    assert form["min_quantity"] == "0.000001"
    fixed = {"symbol": "AAA-USD", "tick_size": "1", "lot_size": "1", "partition": "9"}
    saved = browser.post(path, {**form, **fixed, "status": "halted", "min_price": "2", "_save": "Save"})
    assert "was changed successfully" in saved.messages["success"]
    wait_until(lambda: place(instrument="SOL-USD", price=5).status_code == 409, "SOL-USD is halted")
    instruments = exchange.get("/instruments").json()["instruments"]
    (changed,) = [one for one in instruments if one["symbol"] == "SOL-USD"]
    assert (changed["status"], changed["min_price"], changed["tick_size"]) == ("halted", 2, 0.001)
    wrong = browser.post(path, {**form, "status": "active", "min_price": "0.0005", "_save": "Save"})
    assert "Must be a multiple of tick_size" in wrong.text
    browser.post(path, {**form, "status": "active", "_save": "Save"})
    wait_until(lambda: place(instrument="SOL-USD", price=5).status_code == 201, "orders are accepted again")
    assert browser.post(path.replace("change", "delete"), {"post": "yes"}).status == 403


def test_a_new_instrument_can_be_traded(browser: Browser, place: Place) -> None:
    form = {
        "symbol": "XRP-USD",
        "tick_size": "0.05",
        "lot_size": "1",
        "partition": "0",
        "status": "active",
        "min_quantity": "1",
        "max_quantity": "1000",
        "min_price": "0.05",
        "max_price": "1000",
        "_save": "Save",
    }
    assert "was added successfully" in browser.post(f"{INSTRUMENTS}add/", form).messages["success"]
    wait_until(lambda: place(instrument="XRP-USD", price=0.15).status_code == 201, "an order is accepted")


def test_an_operator_chooses_the_self_trade_prevention_of_an_instrument(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    def shown() -> str:
        rows = exchange.get("/instruments").json()["instruments"]
        return str(next(row["self_trade_prevention"] for row in rows if row["symbol"] == "ETH-USD"))

    path = f"{INSTRUMENTS}{instrument_key(browser, 'ETH-USD')}/change/"
    form = {
        name: value for name, value in browser.get(path).inputs().items() if name.startswith(("min_", "max_"))
    }
    try:
        for rule in ("cancel_maker", "decrement"):
            saved = browser.post(
                path, {**form, "status": "active", "self_trade_prevention": rule, "_save": "Save"}
            )
            assert "was changed successfully" in saved.messages["success"]
            wait_until(lambda: shown() == rule, "the API shows the rule")  # noqa: B023
            order = place(instrument="ETH-USD", price=4).json()
            assert order["self_trade_prevention"] == rule
        # A field that is left out keeps its value.
        browser.post(path, {**form, "status": "active", "_save": "Save"})
        assert shown() == "decrement"
        wrong = browser.post(
            path, {**form, "status": "active", "self_trade_prevention": "x", "_save": "Save"}
        )
        assert "Select a valid choice" in wrong.text
    finally:
        browser.post(path, {**form, "status": "active", "self_trade_prevention": "none", "_save": "Save"})
    wait_until(lambda: shown() == "none", "the API shows the default")


def test_a_halt_without_a_worker_is_saved_with_a_warning(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    key = instrument_key(browser, "SOL-USD")
    resting = place(instrument="SOL-USD", price=5).json()["order_id"]
    worker = psutil.Process(exchange.worker_pid())
    worker.suspend()
    try:
        wait_until(lambda: exchange.get("/healthz").status_code == 503, "no worker matches")
        halted = browser.act(INSTRUMENTS, "halt", [key])
        failed = browser.cancel([resting], q=resting)
    finally:
        worker.resume()
    assert halted.messages["success"] == "SOL-USD: halted."
    assert "No matching worker is running" in halted.messages["warning"]
    assert "applies the change within 1 s anyway" in halted.messages["warning"]
    assert failed.messages["error"].startswith("0 cancelled, 0 no longer open, 1 failed: No matching worker")
    exchange.await_health()
    wait_until(lambda: place(instrument="SOL-USD", price=5).status_code == 409, "SOL-USD is halted")
    assert status_of(exchange, resting) == "open"
    assert "warning" not in browser.act(INSTRUMENTS, "resume", [key]).messages
    wait_until(lambda: place(instrument="SOL-USD", price=5).status_code == 201, "SOL-USD trades again")
