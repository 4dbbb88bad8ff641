"""The market on the admin's front page, and halting and resuming from there."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from django.conf import settings
from django.test import RequestFactory

from hosting.embedded.locations import Locations
from operators.navigation import navigation
from operators.sparkline import HEIGHT, MARGIN, draw
from tests.admin.browser import Browser
from tests.admin.conftest import ON_UVICORN, Place
from tests.system.exchange import RunningExchange, wait_until

INSTRUMENTS = "instruments/instrument/"
HALT, RESUME = f"{INSTRUMENTS}halt/", f"{INSTRUMENTS}resume/"
TIMES = "\N{MULTIPLICATION SIGN}"
FORM = {
    "symbol": "FRONT-USD",
    "partition": "0",
    "tick_size": "0.5",
    "lot_size": "0.1",
    "status": "active",
    "min_quantity": "0.1",
    "max_quantity": "1000",
    "min_price": "0.5",
    "max_price": "1000",
    "_save": "Save",
}


@pytest.fixture(scope="module")
def market(exchange: RunningExchange, browser: Browser, place: Place) -> None:
    """FRONT-USD with trades at 100 and 101.5, two open orders and a waiting one."""
    assert "was added successfully" in browser.post(f"{INSTRUMENTS}add/", FORM).messages["success"]

    def order(**changes: Any) -> httpx.Response:
        answer: httpx.Response = place(instrument="FRONT-USD", client_id="front-page", **changes)
        return answer

    wait_until(lambda: order(price=99, quantity=2.5).status_code == 201, "an order is accepted")
    for price in (100, 101.5):
        assert order(side="sell", price=price, quantity=1.5).json()["status"] == "open"
        assert order(type="market", price=None, quantity=1).json()["status"] == "filled"
        if price == 100:
            assert order(type="market", price=None, quantity=0.5).json()["status"] == "filled"
    waiting = order(side="sell", type="stop", price=None, trigger_price=50)
    assert waiting.json()["status"] == "pending"


def card(browser: Browser, symbol: str) -> str:
    """Return the markup of the instrument's card on the front page."""
    page = browser.get("")
    assert page.status == 200
    cards: list[str] = re.findall(r"<article.*?</article>", page.text, re.S)
    (found,) = [text for text in cards if f">{symbol}<" in text]
    return found


def words(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def status(exchange: RunningExchange, symbol: str) -> str:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as database:
        rows = database.execute("SELECT status FROM instruments_instrument WHERE symbol = %s", [symbol])
        ((found,),) = rows.fetchall()
        return str(found)


def acts(exchange: RunningExchange, symbol: str) -> list[tuple[str, str, str, str]]:
    """Return the halts and resumes of an instrument in the audit trail, newest first."""
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as database:
        rows = database.execute(
            "SELECT act, actor, address, note FROM operators_auditrecord"
            " WHERE object = %s AND act IN ('halt', 'resume') ORDER BY id DESC",
            [symbol],
        )
        return rows.fetchall()


@ON_UVICORN
def test_a_card_shows_prices_trading_and_orders(browser: Browser, market: None) -> None:
    markup = card(browser, "FRONT-USD")
    text = words(markup)
    for part in (
        "101.5 +1.50 %",
        f"Bid 99 {TIMES} 2.5",
        f"Ask 101.5 {TIMES} 0.5",
        "Spread 2.5",
        "Volume 24 h 2.5 FRONT",
        "2 open · 1 pending",
    ):
        assert part in text, part
    label = "FRONT-USD in the last 24 hours: from 100 to 101.5, lowest 100, highest 101.5"
    assert f'role="img" aria-label="{label}"' in markup
    assert "<polyline points=" in markup
    assert not re.search(r"<script|\sstyle=|\son\w+=", markup)


@ON_UVICORN
def test_the_front_page_stands_without_the_market(
    exchange: RunningExchange, browser: Browser, market: None
) -> None:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as database:
        database.execute("LOCK TABLE marketdata_candle IN ACCESS EXCLUSIVE MODE")
        text = words(card(browser, "FRONT-USD"))
    assert "prices unknown" in text
    assert f"Bid 99 {TIMES} 2.5" in text  # from Redis
    assert "Volume 24 h —" in text


@ON_UVICORN
def test_an_instrument_is_halted_and_resumed_from_the_front_page(
    exchange: RunningExchange, browser: Browser, place: Place, market: None
) -> None:
    symbols = {"symbols": "FRONT-USD"}
    assert f"/admin/{HALT}?symbols=FRONT-USD" in card(browser, "FRONT-USD")
    question = browser.get(HALT, **symbols)
    assert "Halt FRONT-USD?" in words(question.text)
    assert re.search(r"FRONT-USD 2 1\b", words(question.text))  # its open and pending orders
    assert status(exchange, "FRONT-USD") == "active"
    form = {**symbols, "note": "a\0 drill"}  # PostgreSQL stores no NUL
    assert browser.post(HALT, form, **symbols).messages == {"success": "FRONT-USD: halted."}
    again = browser.post(HALT, form, token_from="")
    assert (again.path, again.messages) == ("/admin/", {"info": "Nothing to do: halted already."})
    assert acts(exchange, "FRONT-USD") == [("halt", "admin", "127.0.0.1", "a drill")]
    wait_until(lambda: place(instrument="FRONT-USD", price=1).status_code == 409, "FRONT-USD is halted")
    halted = card(browser, "FRONT-USD")
    assert "halted" in words(halted)
    assert f"/admin/{RESUME}?symbols=FRONT-USD" in halted
    assert browser.post(RESUME, symbols, **symbols).messages == {"success": "FRONT-USD: active."}
    wait_until(lambda: place(instrument="FRONT-USD", price=1).status_code == 201, "FRONT-USD trades")


@ON_UVICORN
def test_all_instruments_are_halted_and_the_shown_ones_resumed(
    exchange: RunningExchange, browser: Browser, market: None
) -> None:
    assert f"/admin/{HALT}?all=yes" in browser.get("").links
    question = browser.get(HALT, all="yes")
    form = {name: value for name, value in question.inputs().items() if name in ("all", "symbols")}
    assert form == {"all": "yes"}
    try:
        halted = browser.post(HALT, form, all="yes")
        assert "BTC-USD" in halted.messages["success"]
        assert "active" not in re.findall(r'class="tag \w+">(\w+)<', halted.text)
        offered = browser.get(RESUME, all="yes").inputs()["symbols"].split(",")
        assert {"BTC-USD", "ETH-USD", "SOL-USD", "FRONT-USD"} <= {*offered}
        kept = [symbol for symbol in offered if symbol != "FRONT-USD"]
        browser.post(RESUME, {"symbols": ",".join(kept)}, all="yes")
        assert (status(exchange, "BTC-USD"), status(exchange, "FRONT-USD")) == ("active", "halted")
    finally:
        browser.post(RESUME, {"all": "yes"}, token_from="")
    assert browser.get(RESUME, all="yes").messages == {"info": "Nothing to do: active already."}
    wait_until(lambda: "halted" not in exchange.get("/instruments").text, "the API knows of the resume")


@ON_UVICORN
def test_unknown_instruments_change_nothing(browser: Browser) -> None:
    for form in ({"symbols": "NO-SUCH"}, {"symbols": "\0"}, {"symbols": "BTC-USD\0"}, {"symbols": ""}, {}):
        assert browser.post(HALT, form, token_from="").messages == {"warning": "No such instrument."}


@pytest.fixture
def watcher(exchange: RunningExchange, browser: Browser) -> Iterator[Browser]:
    """The browser of a user who may log in to the admin, but has no permission."""
    password = "a-very-long-passphrase-2"
    passwords = {"password1": password, "password2": password, "usable_password": "true"}
    created = browser.post("auth/user/add/", {"username": "watcher", **passwords})
    form = {
        name: value
        for name, value in created.inputs().items()
        if name.startswith(("username", "date_joined", "initial"))
    }
    saved = browser.post(
        created.path.removeprefix("/admin/"), {**form, "is_active": "on", "is_staff": "on", "_save": "Save"}
    )
    assert "was changed successfully" in saved.messages["success"]
    with Browser(exchange.url) as session:
        assert session.log_in("watcher", password).path == "/admin/"
        yield session


@ON_UVICORN
def test_without_the_permission_there_are_no_buttons_and_halts_are_refused(
    exchange: RunningExchange, watcher: Browser, market: None
) -> None:
    shown = card(watcher, "FRONT-USD")
    assert "101.5" in words(shown)
    assert "halt/" not in watcher.get("").text
    assert "2 open" not in words(shown)  # The numbers of orders need the permission to see orders.
    before = acts(exchange, "FRONT-USD")
    for path in (HALT, RESUME):
        assert watcher.get(path, all="yes").status == 403
        for form in ({"symbols": "FRONT-USD"}, {"all": "yes"}):
            assert watcher.post(path, form, token_from="").status == 403
    assert status(exchange, "FRONT-USD") == "active"
    assert acts(exchange, "FRONT-USD") == before


@ON_UVICORN
def test_strangers_and_forms_without_a_token_halt_nothing(
    exchange: RunningExchange, browser: Browser, market: None
) -> None:
    with Browser(exchange.url) as stranger:
        answer = stranger.post(HALT, {"symbols": "FRONT-USD"}, token_from="login/")
        assert answer.path == "/admin/login/"
    assert browser.post(HALT, {"symbols": "FRONT-USD"}, token_from="no-such-page/").status == 403
    assert status(exchange, "FRONT-USD") == "active"


@ON_UVICORN
def test_the_menu_links_to_the_trading_screen(browser: Browser) -> None:
    assert "/" in browser.get("").links


def test_a_listener_for_the_admin_alone_has_no_link_to_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    def links() -> list[str]:
        return [str(item["link"]) for item in navigation(RequestFactory().get("/admin/"))[0]["items"]]

    assert "/" in links()
    environment = msgspec.structs.replace(settings.ENVIRONMENT, exchange_admin_bind="127.0.0.1:8001")
    monkeypatch.setattr(settings, "ENVIRONMENT", environment)
    assert "/" not in links()


def test_a_chart_spans_the_lowest_and_the_highest_price() -> None:
    chart = draw([None, 10, 30, 20])
    assert chart is not None
    top, bottom = MARGIN, MARGIN + HEIGHT
    assert chart.line == f"10,{bottom} 20,{top} 30,{(top + bottom) // 2}"
    assert chart.area == f"10,{bottom + MARGIN} {chart.line} 30,{bottom + MARGIN}"
    assert (chart.width, chart.height, chart.first_y) == (30, HEIGHT + 2 * MARGIN, bottom)


@pytest.mark.parametrize("prices", [[], [None, None], [None, 7]])
def test_there_is_no_chart_of_fewer_than_two_prices(prices: list[int | None]) -> None:
    assert draw(prices) is None


def test_a_chart_of_equal_prices_is_a_line_in_the_middle() -> None:
    chart = draw([10**20, 10**20])
    assert chart is not None
    middle = MARGIN + HEIGHT // 2
    assert chart.line == f"0,{middle} 10,{middle}"
