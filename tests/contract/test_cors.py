"""Pages of other origins: they may use REST and the stream if EXCHANGE_CORS_ORIGINS names them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from tests.contract.client import Client, order_body
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange

# The origins that `strict_exchange` allows.
LISTED, LISTED_WITH_PORT = "https://app.example.com", "http://localhost:3000"
UNLISTED_ORIGINS = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://sub.app.example.com",
    "https://APP.example.com.",
    "null",
    "*",
    "https://app.example.com/path",
    "http://[",
    "https://app.example.com, https://app.example.com",
]
EXPOSED_HEADERS = {
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Idempotency-Replayed",
}


@pytest.fixture
def page(strict_exchange: RunningExchange) -> Iterator[Client]:
    with Client(strict_exchange.url) as connected:
        yield connected


@pytest.mark.parametrize("origin", [LISTED, LISTED_WITH_PORT])
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/orders", {"GET", "HEAD", "POST"}),
        ("/orders/01990000-0000-7000-8000-000000000000/cancel", {"POST"}),
        ("/orderbook", {"GET", "HEAD"}),
        ("/fills", {"GET", "HEAD"}),
        ("/tickers", {"GET", "HEAD"}),
    ],
)
def test_the_answer_to_a_preflight_lists_methods_and_headers(
    page: Client, origin: str, path: str, methods: set[str]
) -> None:
    answer = page.send(
        "OPTIONS",
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,idempotency-key",
        },
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) == methods
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type, Idempotency-Key"
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert answer.headers["Access-Control-Allow-Credentials"] is None
    assert answer.headers["Vary"] == "Origin"


def test_a_page_of_a_listed_origin_can_read_every_answer(page: Client) -> None:
    origin = {"Origin": LISTED}
    body = order_body("BTC-USD", "buy", 1, 10, idempotency_key="cors")
    for answer, status in (
        (page.post("/orders", body, origin), 201),
        (page.post("/orders", body, origin), 200),
        (page.post("/orders", body | {"quantity": 2}, origin), 422),
        (page.post("/orders", b"{", origin), 400),
        (page.post("/orders", b" " * 70_000, origin), 413),
        (page.send("GET", "/orders", headers=origin), 200),
        (page.send("GET", "/nothing", headers=origin), 404),
        (page.send("DELETE", "/orders", headers=origin), 405),
        (page.send("OPTIONS", "/orders", headers=origin), 405),
    ):
        assert answer.status == status, answer
        assert answer.headers["Access-Control-Allow-Origin"] == LISTED
        assert set(answer.headers["Access-Control-Expose-Headers"].split(", ")) == EXPOSED_HEADERS
        assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", UNLISTED_ORIGINS)
def test_a_page_of_another_origin_cannot_place_orders_or_read_answers(page: Client, origin: str) -> None:
    headers = {"Origin": origin}
    preflight = headers | {"Access-Control-Request-Method": "POST"}
    for answer in (
        page.send("OPTIONS", "/orders", headers=preflight),
        page.post("/orders", order_body("BTC-USD", "buy", 1, 10), headers),
    ):
        answer.error(403, "forbidden")
        assert answer.headers["Access-Control-Allow-Origin"] is None
    read = page.send("GET", "/orderbook", headers=headers)
    assert (read.status, read.headers["Access-Control-Allow-Origin"]) == (200, None)


def test_programs_and_pages_of_the_exchange_need_no_listed_origin(page: Client) -> None:
    for headers in ({}, {"Origin": "http://127.0.0.1:8000"}):
        answer = page.post("/orders", order_body("BTC-USD", "buy", 1, 10), headers)
        assert answer.status == 201
        assert answer.headers["Access-Control-Allow-Origin"] is None


def connect_from(exchange: RunningExchange, origin: Any) -> websockets.connect:
    return websockets.connect(exchange.ws_url, origin=origin, open_timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("origin", [LISTED, LISTED_WITH_PORT, "http://127.0.0.1", None])
def test_the_stream_accepts_the_same_origins(strict_exchange: RunningExchange, origin: str | None) -> None:
    async def ping() -> str:
        async with connect_from(strict_exchange, origin) as stream:
            await stream.send('{"type":"ping","id":1}')
            return str(await stream.recv())

    assert asyncio.run(ping()) == '{"type":"pong","id":1}'


@pytest.mark.parametrize("origin", UNLISTED_ORIGINS)
def test_the_stream_refuses_other_origins(strict_exchange: RunningExchange, origin: str) -> None:
    before = len(strict_exchange.log())

    async def connect() -> None:
        async with connect_from(strict_exchange, origin):
            pass

    with pytest.raises(websockets.InvalidStatus) as refused:
        asyncio.run(connect())
    # Daphne's WebSocket library answers 400 to an origin that is not a URL.
    assert refused.value.response.status_code in (400, 403)
    assert "Traceback" not in strict_exchange.log()[before:]


def test_no_answer_has_cors_headers_without_the_variable(client: Client) -> None:
    answer = client.send("GET", "/orderbook", headers={"Origin": LISTED})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (
        200,
        None,
        None,
    )
    preflight = {"Origin": LISTED, "Access-Control-Request-Method": "GET"}
    client.send("OPTIONS", "/orderbook", headers=preflight).error(403, "forbidden")
