"""Operators' actions: confirmation, audit trail and log. Also how instruments are moved and deleted.

Most actions go through the admin. The commands `halt` and `resume` are tested here, too.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.cache import cache
from redis import Redis

from hosting.embedded.locations import Locations
from tests.admin.browser import Browser, Page
from tests.admin.conftest import ON_UVICORN, Place
from tests.system.exchange import RunningExchange, manage, wait_until

pytestmark = ON_UVICORN

ORDERS, INSTRUMENTS, AUDIT = "orders/order/", "instruments/instrument/", "operators/auditrecord/"
FORM = {
    "tick_size": "0.05",
    "lot_size": "1",
    "status": "active",
    "min_quantity": "1",
    "max_quantity": "1000",
    "min_price": "0.05",
    "max_price": "1000",
    "_save": "Save",
}


def trail(exchange: RunningExchange) -> list[dict[str, Any]]:
    """Return the audit trail, newest record first."""
    with psycopg.connect(
        Locations(exchange.data_dir).postgres_uri, row_factory=psycopg.rows.dict_row
    ) as database:
        return database.execute("SELECT * FROM operators_auditrecord ORDER BY id DESC").fetchall()


def instrument_key(browser: Browser, symbol: str) -> str:
    (key,) = browser.get(INSTRUMENTS, q=symbol).rows
    return key


def add(browser: Browser, symbol: str, partition: int = 0, **more: str) -> Page:
    return browser.post(f"{INSTRUMENTS}add/", {**FORM, "symbol": symbol, "partition": str(partition), **more})


def delete(browser: Browser, symbol: str) -> Page:
    return browser.post(f"{INSTRUMENTS}{instrument_key(browser, symbol)}/delete/", {"post": "yes"})


def test_a_cancel_is_confirmed_first_and_recorded_in_the_trail(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    selected = [place(client_id="confirmed", price=40_000 + number).json()["order_id"] for number in range(3)]
    confirmation = browser.act(ORDERS, "cancel_selected", selected, q="confirmed")
    assert "Cancel 3 open or pending orders?" in confirmation.text
    assert "confirmed" in confirmation.text
    for order_id in selected:
        assert exchange.get(f"/orders/{order_id}").json()["status"] == "open"
    assert not [row for row in trail(exchange) if row["object"] in selected]
    later = place(client_id="confirmed", price=41_000).json()["order_id"]
    assert browser.cancel(selected, q="confirmed").messages == {
        "success": "3 cancelled, 0 no longer open, 0 failed."
    }
    assert exchange.get(f"/orders/{later}").json()["status"] == "open"  # it was not selected
    rows = [row for row in trail(exchange) if row["object"] in selected]
    assert [row["act"] for row in rows] == ["cancel_outcome"] * 3 + ["cancel"] * 3
    assert {row["actor"] for row in rows} == {"admin"}
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert rows[-1]["before"]["status"] == "open"
    assert rows[0]["after"] == {"outcome": "cancelled"}
    assert f"admin at 127.0.0.1: cancel order {selected[0]}" in exchange.log()
    assert browser.get(AUDIT, q=selected[0]).text.count(selected[0]) >= 2


def test_the_trail_records_halts_resumes_and_changed_limits(
    exchange: RunningExchange, browser: Browser
) -> None:
    key = instrument_key(browser, "SOL-USD")
    browser.act(INSTRUMENTS, "halt", [key])
    browser.act(INSTRUMENTS, "resume", [key])
    path = f"{INSTRUMENTS}{key}/change/"
    form = {
        name: value for name, value in browser.get(path).inputs().items() if name.startswith(("min_", "max_"))
    }
    browser.post(path, {**form, "status": "active", "min_price": "0.002", "_save": "Save"})
    browser.post(path, {**form, "status": "active", "_save": "Save"})
    acts = [row for row in trail(exchange) if row["object"] == "SOL-USD"][:4]
    assert [(row["act"], row["before"], row["after"]) for row in acts] == [
        ("change", {"min_price": "0.002"}, {"min_price": "0.001"}),
        ("change", {"min_price": "0.001"}, {"min_price": "0.002"}),
        ("resume", {"status": "halted"}, {"status": "active"}),
        ("halt", {"status": "active"}, {"status": "halted"}),
    ]


def test_the_trail_records_a_new_user_without_the_password(
    exchange: RunningExchange, browser: Browser
) -> None:
    password = "a-very-long-passphrase-1"
    form = {
        "username": "night-shift",
        "password1": password,
        "password2": password,
        "usable_password": "true",
    }
    assert browser.post("auth/user/add/", form).status == 200
    (row,) = [row for row in trail(exchange) if row["object"] == "night-shift"]
    assert (row["act"], row["object_type"], row["before"]) == ("create", "user", None)
    assert row["after"]["is_staff"] is False
    assert "password" not in row["after"]
    assert password not in str(row)


@pytest.mark.parametrize("statement", ["UPDATE {} SET note = ''", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_trail_can_only_grow(exchange: RunningExchange, browser: Browser, statement: str) -> None:
    assert trail(exchange)
    with (
        psycopg.connect(Locations(exchange.data_dir).postgres_uri) as database,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"),
    ):
        database.execute(statement.format("operators_auditrecord"))
    row = trail(exchange)[0]["id"]
    assert browser.get(f"{AUDIT}{row}/change/").status == 200
    assert not browser.get(f"{AUDIT}{row}/change/").editable
    assert browser.post(f"{AUDIT}{row}/delete/", {"post": "yes"}).status == 403


def test_a_partition_without_a_worker_must_be_confirmed(exchange: RunningExchange, browser: Browser) -> None:
    refused = add(browser, "AAA-USD", 7)
    assert "No worker matches partition 7 now" in refused.text
    assert "run_matching --partition=7" in refused.text
    assert "AAA-USD" not in exchange.get("/instruments").text
    confirmed = add(browser, "AAA-USD", 7, confirm_unmatched="on")
    assert "was added successfully" in confirmed.messages["success"]
    path = f"{INSTRUMENTS}{instrument_key(browser, 'AAA-USD')}/change/"
    form = {name: value for name, value in FORM.items() if name not in ("tick_size", "lot_size")}
    moved = browser.post(path, {**form, "partition": "0"})
    assert "was changed successfully" in moved.messages["success"]
    (row,) = [row for row in trail(exchange) if row["object"] == "AAA-USD" and row["act"] == "move"]
    assert (row["before"], row["after"]) == ({"partition": 7}, {"partition": 0})
    assert "was deleted successfully" in delete(browser, "AAA-USD").messages["success"]
    exchange.await_health()


def test_only_an_instrument_without_orders_can_be_deleted(
    exchange: RunningExchange, browser: Browser, place: Place
) -> None:
    for symbol in ("BBB-USD", "CCC-USD"):
        assert "was added successfully" in add(browser, symbol).messages["success"]
        wait_until(lambda: symbol in exchange.get("/instruments").text, "it is listed")  # noqa: B023
    wait_until(lambda: place(instrument="CCC-USD", price=1).status_code == 201, "an order is accepted")
    assert "was deleted successfully" in delete(browser, "BBB-USD").messages["success"]
    wait_until(lambda: "BBB-USD" not in exchange.get("/instruments").text, "BBB-USD is gone")
    assert delete(browser, "CCC-USD").status == 403
    wait_until(lambda: place(instrument="CCC-USD", price=1).status_code == 201, "CCC-USD is still traded")
    assert place(instrument="BBB-USD", price=1).status_code == 400
    acts = [row["act"] for row in trail(exchange) if row["object"] == "BBB-USD"]
    assert acts == ["delete", "create"]


def test_the_front_page_shows_the_state_of_the_exchange(browser: Browser, place: Place) -> None:
    place(price=69_999.25, client_id="front")
    text = re.sub(r"<[^>]+>", " ", browser.get("").text)
    for word in (
        "healthy",
        "BTC-USD",
        "69999.25",
        "matching",
        "Queue",
        "Orders/s",
        "Latency p99",
        "Last acts",
    ):
        assert word in text, word


def test_the_front_page_says_that_redis_is_away(exchange: RunningExchange, browser: Browser) -> None:
    valkey = exchange.part("valkey")
    valkey.suspend()
    try:
        # The page may show a check of health that was made up to half a second before.
        wait_until(lambda: exchange.get("/healthz").status_code == 503, "the exchange is unhealthy")
        page = browser.get("")
    finally:
        valkey.resume()
    assert page.status == 200
    text = re.sub(r"<[^>]+>", " ", page.text)
    for words in ("unhealthy", "redis: no", "matching: no", "unknown", "BTC-USD"):
        assert words in text, words
    assert "database: " not in text
    exchange.await_health()


def test_sessions_are_not_in_redis_and_nothing_in_redis_is_pickled(
    exchange: RunningExchange, password: str
) -> None:
    with Browser(exchange.url) as operator:
        operator.log_in("nobody-at-all", "a guess")  # is counted in the cache
        assert operator.log_in("admin", password).path == "/admin/"
        session_id = operator.session_id
        stored = everything_in_redis(Locations(exchange.data_dir).redis_url)
    assert [key for key in stored if "axes" in key] != []
    assert [key for key, value in stored.items() if session_id in key or session_id in value] == []
    assert settings.SESSION_SERIALIZER.endswith("JSONSerializer")
    cache.set("tests", {"a key": ["a value"]})
    with Redis.from_url(settings.REDIS_URL) as redis:
        assert json.loads(redis.get(":1:tests")) == {"a key": ["a value"]}


def everything_in_redis(url: str) -> dict[str, str]:
    """Return all values by their keys, both as Python writes them."""
    with Redis.from_url(url) as redis:
        read: dict[bytes, Callable[[bytes], object]] = {
            b"string": redis.get,
            b"hash": redis.hgetall,
            b"list": lambda key: redis.lrange(key, 0, -1),
            b"set": redis.smembers,
            b"zset": lambda key: redis.zrange(key, 0, -1),
            b"stream": redis.xrange,
            b"none": lambda key: None,  # it has expired meanwhile
        }
        return {repr(key): repr(read[redis.type(key)](key)) for key in redis.scan_iter()}


def test_halt_and_resume_work_on_the_command_line(exchange: RunningExchange, place: Place) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        finished = manage(exchange.environment, *arguments)
        assert "Traceback" not in finished.stderr
        return finished.returncode, finished.stdout + finished.stderr

    status, output = run("halt", "SOL-USD", "--note", "a drill")
    assert (status, "SOL-USD: halted" in output) == (0, True)
    refused = place(instrument="SOL-USD", price=1)
    assert refused.status_code == 409 or refused.json()["reason"] == "instrument_halted"
    status, output = run("halt", "SOL-USD")
    assert (status, "SOL-USD: halted already" in output) == (0, True)
    status, output = run("halt", "SOL-USD", "NO-SUCH")
    assert (status, "unknown: NO-SUCH" in output, "BTC-USD" in output) == (1, True, True)
    status, output = run("halt")
    assert (status, "--all" in output) == (1, True)
    assert run("halt", "--all")[0] == 0
    wait_until(lambda: place(price=1).status_code == 409, "BTC-USD is halted")
    assert run("resume", "--all")[0] == 0
    wait_until(lambda: place(instrument="SOL-USD", price=1).status_code == 201, "orders are accepted again")
    acts = [row for row in trail(exchange) if row["object"] == "SOL-USD"][:3]
    # `halt --all` found SOL-USD halted already, so it made no second record.
    assert [(row["act"], row["note"]) for row in acts[:2]] == [("resume", ""), ("halt", "a drill")]
    assert all(row["actor"].startswith("command line: ") for row in acts[:2])
