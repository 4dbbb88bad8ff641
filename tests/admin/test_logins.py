"""Logins under attack: guesses are locked, floods keep no operator out, tickets can't be forged."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.core import signing
from django.test import RequestFactory

from exchange_site.entrance import FairQueue
from operators import tickets
from operators.logins import counted_address
from tests.admin.browser import Browser
from tests.admin.conftest import ON_UVICORN, Place
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange, wait_until

CROWD = 130
LOCK_AFTER = 5


@ON_UVICORN
@pytest.mark.parametrize("name", ["admin", "nobody-at-all"])
def test_an_address_is_locked_out_of_a_name_after_five_wrong_guesses(
    exchange: RunningExchange, name: str
) -> None:
    with Browser(exchange.url, address="127.0.0.9") as guesser:
        pages = [guesser.log_in(name, f"guess-{number}") for number in range(LOCK_AFTER + 1)]
    assert [page.status for page in pages[: LOCK_AFTER - 1]] == [200] * (LOCK_AFTER - 1)
    assert [page.status for page in pages[LOCK_AFTER - 1 :]] == [429] * 2
    assert "locked" in pages[-1].text
    assert f"login failed at 127.0.0.9: '{name}'" in exchange.log()


def test_a_lock_applies_only_to_its_address(exchange: RunningExchange, password: str) -> None:
    with Browser(exchange.url, address="127.0.0.10") as guesser, Browser(exchange.url) as operator:
        for number in range(LOCK_AFTER):
            guesser.log_in("admin", f"guess-{number}")
        assert guesser.log_in("admin", password).status == 429  # the right password, after the lock
        assert operator.log_in("admin", password).path == "/admin/"


def test_a_forged_x_forwarded_for_evades_no_lock(exchange: RunningExchange, password: str) -> None:
    with Browser(exchange.url, address="127.0.0.11") as guesser:
        for number in range(LOCK_AFTER):
            guesser.extra_headers = {"X-Forwarded-For": f"10.0.0.{number}"}
            last = guesser.log_in("admin", f"guess-{number}")
    assert last.status == 429


def test_an_operator_can_log_in_during_a_flood_of_guesses(
    exchange: RunningExchange, password: str, place: Place
) -> None:
    form = "username=x&password=y&csrfmiddlewaretoken=" + "a" * 32
    guess = (
        "POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken=" + "a" * 32 + "\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\n\r\n{form}"
    ).encode()
    look = b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    index = b"GET /admin/orders/order/ HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def scenario() -> None:
        async with crowd(exchange.port, [look, guess, index]):

            def log_in_and_work() -> None:
                with Browser(exchange.url) as operator:
                    assert operator.log_in("admin", password).path == "/admin/"
                    assert operator.get("orders/order/").status == 200
                assert place(client_id="flooded").status_code == 201

            await asyncio.to_thread(log_in_and_work)

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def crowd(port: int, requests: list[bytes]) -> AsyncIterator[None]:
    """Keep CROWD connections open, each of which repeats one of the requests, whatever the answer."""

    async def repeat(request: bytes) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    while True:
                        writer.write(request)
                        if not await reader.read(65536):
                            break
                finally:
                    writer.transport.abort()

    tasks = [asyncio.create_task(repeat(requests[number % len(requests)])) for number in range(CROWD)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_form_without_its_token_is_refused_with_an_explanation(exchange: RunningExchange) -> None:
    answer = exchange.post("/admin/login/", data={"username": "admin", "password": "x"})
    assert answer.status_code == 403
    assert "GET /admin/login/ first" in answer.json()["error"]["message"]


@ON_UVICORN
@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("/admin/orders/order/?q=a%26b", "/admin/orders/order/"),
        ("/admin/login/?next=//evil.example/", "/admin/"),
        ("/admin/login/?next=https://evil.example/", "/admin/"),
        ("/admin/login/?next=/admin/login/", "/admin/"),
    ],
)
def test_a_login_leads_only_to_pages_of_the_admin(
    exchange: RunningExchange, password: str, asked: str, leads_to: str
) -> None:
    with httpx.Client(base_url=exchange.url, follow_redirects=True, timeout=PATIENCE_SECONDS) as http:
        page = http.get(asked)
        assert page.url.path == "/admin/login/"
        action = page.text.partition('<form action="')[2].partition('"')[0].replace("&amp;", "&")
        form = {"username": "admin", "password": password, "csrfmiddlewaretoken": http.cookies["csrftoken"]}
        answer = http.post(action, data=form)
    assert (answer.status_code, answer.url.path) == (200, leads_to)


def test_only_a_ticket_with_our_signature_is_valid() -> None:
    signer = signing.TimestampSigner(salt="operators.tickets")
    good = signer.sign("1")
    foreign = signing.TimestampSigner(salt="another").sign("1")
    assert tickets.ticket_of([(b"cookie", f"a=b; {tickets.COOKIE}={good}".encode())]) == good
    for bad in ("", "1", foreign, good + "x", good[:-1], "x" * 10_000):
        assert tickets.ticket_of([(b"cookie", f"{tickets.COOKIE}={bad}".encode())]) is None
    assert tickets.ticket_of([]) is None


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4", "1.2.3.5", False),
        ("unknown", "unknown", True),
    ],
)
def test_all_addresses_that_one_client_can_use_count_as_one(one: str, other: str, together: bool) -> None:
    """An IPv6 client can use 2^64 addresses.

    If they counted singly, its guesses and its places in the queue would have no bound.
    """
    first, second = (
        counted_address(RequestFactory(REMOTE_ADDR=address).post("/admin/login/")) for address in (one, other)
    )
    assert (first == second) == together
    assert (
        f"{counted_address.__module__}.{counted_address.__name__}" == django_settings.AXES_CLIENT_IP_CALLABLE
    )


def test_addresses_take_turns_in_the_queue() -> None:
    async def scenario() -> list[str]:
        queue, served = FairQueue(), []

        async def visit(address: str) -> None:
            async with queue.turn(address):
                served.append(address)
                await asyncio.sleep(0)

        visits = [asyncio.create_task(visit("many")) for _ in range(5)]
        await asyncio.sleep(0)
        visits.append(asyncio.create_task(visit("one")))
        visits[2].cancel()
        await asyncio.gather(*visits, return_exceptions=True)
        return served

    assert asyncio.run(scenario()) == ["many", "many", "one", "many", "many"]


@pytest.mark.long
def test_the_admin_can_have_a_listener_of_its_own(free_admin: dict[str, Any]) -> None:
    variables, bind = free_admin["variables"], free_admin["bind"]
    with RunningExchange(variables=variables) as exchange:
        assert f"http://localhost:{bind.rpartition(':')[2]}/admin/" in exchange.log()
        assert exchange.get("/admin/login/").status_code == 404
        assert exchange.get("/admin").status_code == 404
        assert exchange.get("/instruments").status_code == 200
        assert _status(f"http://{bind}/admin/login/") == 200
        assert _status(f"http://{bind}/instruments") == 404
        exchange.part("admin_application").kill()
        wait_until(lambda: _status(f"http://{bind}/admin/login/") == 200, "the admin has been started again")


def _status(url: str) -> int | None:
    """Return the status of the answer, or None if nothing answers."""
    try:
        return httpx.get(url, timeout=PATIENCE_SECONDS).status_code
    except httpx.TransportError:
        return None
