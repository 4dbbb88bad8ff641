"""Invalid requests are answered with a 4xx in the common error format, and change nothing."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.contract.client import Answer, Client, order_body
from tests.contract.market import Market
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange

VALID_ORDER = order_body("BTC-USD", "buy", 1, 10)
ANSWER_SECONDS_MAX = PATIENCE_SECONDS


def order_with(name: str, value: str) -> bytes:
    """Return a valid order as JSON, with the text of one field replaced or added."""
    fields = {key: json.dumps(field) for key, field in VALID_ORDER.items()} | {name: value}
    return ("{" + ",".join(f'"{key}":{text}' for key, text in fields.items()) + "}").encode()


WHOLE_BODIES = [
    b"",
    b" ",
    b"null",
    b"true",
    b"1",
    b'"text"',
    b"[]",
    b"{}",
    b"[" + json.dumps(VALID_ORDER).encode() + b"]",
    b"{",
    b"}",
    b'{"client_id"',
    b'{"client_id":"a",}',
    b"{'client_id':'a'}",
    b"not json",
    b"NaN",
    b"Infinity",
    b"-",
    b"\x00",
    b"\xff\xfe\xfd",
    b'"\xc3\x28"',
    b"[" * 5_000 + b"]" * 5_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    order_with("price", "[" * 5_000 + "]" * 5_000),
    json.dumps(VALID_ORDER).encode() + b"x",
    json.dumps(VALID_ORDER).encode() * 2,
    b"\xef\xbb\xbf" + json.dumps(VALID_ORDER).encode(),
    json.dumps(VALID_ORDER).encode("utf-16"),
    json.dumps(VALID_ORDER).encode("utf-16-le"),
    json.dumps(VALID_ORDER).encode("utf-32"),
    b"/* comment */" + json.dumps(VALID_ORDER).encode(),
    b"client_id=a&instrument=BTC-USD&side=buy&type=limit&price=10&quantity=1",
    b"<order/>",
    b'{"__proto__":{}}',
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
]

BAD_NUMBERS = [
    *("NaN", "Infinity", "-Infinity", "1e999999", "1e-999999", "1e99999999999999999999", "-1e999999"),
    *("9" * 5_000, "0." + "0" * 5_000 + "1", "0x10", "+1", "01", ".5", "1.", "1_000", "1,5", "--1"),
    *("0", "-0", "-0.0", "0e5", "-1", "1e-30", "9223372036854775808", "true", "false", "[]", "[1]", "{}"),
    *('""', '" "', '" 1"', '"1 "', '"1,0"', '"1_0"', '"NaN"', '"sNaN"', '"-Infinity"', '"1e999999999"'),
    *('"0x10"', '"\\u0661"', '"\uff11"', '"1\\u0000"', '"--1"', '"abc"', '"-0"', '"' + "9" * 5_000 + '"'),
]

BAD_TEXTS = [
    *("1", "1.5", "true", "[]", "{}", '["BTC-USD"]', '""', '"\\u0000"', '"a\\u0000b"', '"\\ud800"'),
    *('"\\udc00\\ud800"', '"a\\nb"', '"\\u001b[31m"', '"\\u202e"', '"' + "x" * 300 + '"', '"é"', '"💥"'),
    *('"\'; DROP TABLE orders_order; --"', '"%00"', '"../../etc/passwd"', '"<script>"', '"${jndi:x}"'),
    *('" buy"', '"BUY"', '"btc-usd"', '"BTC-USD "', '"buy\\u0000"'),
]

REQUIRED = ("client_id", "instrument", "side", "type", "quantity")
BODIES = [
    *WHOLE_BODIES,
    *[order_with(name, text) for name in ("price", "quantity") for text in BAD_NUMBERS],
    *[order_with(name, text) for name in ("instrument", "side", "type") for text in (*BAD_TEXTS, "null")],
    *[order_with("client_id", text) for text in (*BAD_TEXTS[:-5], '"a b"', '"a/b"', "null")],
    *[
        order_with("idempotency_key", text)
        for text in ("1", "[]", "{}", '""', '"\\u0000"', '"a\\nb"', '"\\ud800"', '"' + "x" * 256 + '"')
    ],
    order_with("price", "null"),
    order_with("quantity", "null"),
    *[
        json.dumps({key: value for key, value in VALID_ORDER.items() if key != name}).encode()
        for name in (*REQUIRED, "price")
    ],
    *[
        order_with(name, '"x"')
        for name in ("order_id", "status", "time_in_force", "Price", "", "price ", "💥")
    ],
]

OPEN_ENDED_PATHS = (
    *("/orderbook?instrument=", "/trades?instrument=", "/trades/stats?instrument=", "/candles?instrument="),
    *("/orders?instrument=", "/orders/"),
)
GARBAGE = (
    *(
        "%00",
        "%ff%fe",
        "%C0%AF",
        "%ED%A0%80",
        "%F0%9F%92%A5",
        "%0d%0aX:%20y",
        "%25",
        "'%20OR%201=1--",
        "x" * 3000,
    ),
    *(
        "..%2f..%2fetc%2fpasswd",
        "%5B%5D",
        "{}",
        "NaN",
        "-1",
        "btc-usd",
        "BTC%2FUSD",
        "BTC-USD%00",
        "%zz",
        "%",
    ),
)
BAD_INTEGERS = (
    "0",
    "-1",
    "1001",
    "1.5",
    "1e2",
    "abc",
    "",
    "NaN",
    "%00",
    "99999999999999999999",
    "٣",
    "+5",
    "1%20",
)
BAD_CURSORS = (
    *(
        "x",
        "%00",
        "%ff",
        "=",
        "====",
        "a" * 5_000,
        "MQ",
        "LTE",
        "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "%D9%A1",
    ),
    "JzsgRFJPUCBUQUJMRSBvcmRlcnM7IC0t",
)
BAD_TIMES = (
    *(
        "",
        "x",
        "0",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "%00",
    ),
    *("99999-01-01T00:00:00Z", "-1", "1e999", "2026-01-01T00:00:00+99:99", "9999999999999999"),
)
PATHS = [
    *[path + garbage for path in OPEN_ENDED_PATHS for garbage in GARBAGE],
    *[f"/orderbook?levels={number}" for number in BAD_INTEGERS],
    *[f"{path}?limit={number}" for path in ("/orders", "/trades", "/candles") for number in BAD_INTEGERS],
    *[f"/orders?cursor={cursor}" for cursor in BAD_CURSORS],
    *[f"/trades?cursor={cursor}" for cursor in BAD_CURSORS if cursor != "MQ"],
    *[f"/orders?client_id={text}" for text in GARBAGE if text not in ("NaN", "-1", "btc-usd")],
    *[f"/orders?status={text}" for text in ("OPEN", "", "%00", "open%00", "open,filled")],
    *[
        f"/trades/stats?window={text}"
        for text in (
            "",
            "0h",
            "-1h",
            "h",
            "1",
            "1w",
            "1.5h",
            "721h",
            "31d",
            "99999999h",
            "24H",
            "%00",
            "٣h",
            "1h%0a",
        )
    ],
    *[f"/candles?interval={text}" for text in ("", "0m", "2m", "1M", "60", "1m%00", "1w")],
    *[f"/candles?{name}={text}" for name in ("start", "end") for text in BAD_TIMES],
    "/candles?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z",
    "/candles?start=2026-01-01T00:00:00Z&end=2026-01-01T00:00:00Z",
]


class State(NamedTuple):
    """The book of BTC-USD, and the number of all orders."""

    sequence: int
    bids: list[Any]
    asks: list[Any]
    orders: int


@pytest.fixture(autouse=True)
def nothing_changes(client: Client, market: Market) -> Iterator[None]:
    """Fail if a test changes the book or places an order."""
    before = read_state(client, market)
    yield
    assert read_state(client, market) == before


def read_state(client: Client, market: Market) -> State:
    book = client.book("BTC-USD")
    row = market.database.execute("SELECT count(*) FROM orders_order").fetchone()
    assert row is not None
    return State(book["sequence"], book["bids"], book["asks"], row[0])


def check_refused(answer: Answer) -> None:
    """Fail unless the answer is a 4xx in the common error format."""
    assert 400 <= answer.status < 500, (answer.status, answer.text)
    answer.error(answer.status, answer.json["error"]["code"])


def test_invalid_bodies_of_orders_are_refused(client: Client) -> None:
    assert len(BODIES) > 80
    for body in BODIES:
        answer = client.post("/orders", body)
        try:
            check_refused(answer)
            assert answer.status == 400
        except AssertionError as error:
            raise AssertionError(f"{body[:200]!r}: {error}") from None


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null"])
def test_the_error_says_that_a_body_must_be_an_object(client: Client, body: bytes) -> None:
    error = client.post("/orders", body).error(400, "invalid_request")
    assert error["fields"] == {"body": ["Must be a JSON object."]}


def test_invalid_bodies_of_cancels_are_refused(client: Client) -> None:
    path = "/orders/01990000-0000-7000-8000-000000000000/cancel"
    for body in (*WHOLE_BODIES, b'{"client_id":1}', b'{"client_id":"a b"}', b'{"reason":"x"}'):
        if body in (b"", b"{}"):
            continue
        try:
            client.post(path, body).error(400, "invalid_request")
        except AssertionError as error:
            raise AssertionError(f"{body[:200]!r}: {error}") from None


def test_invalid_paths_and_queries_are_refused(client: Client) -> None:
    assert len(PATHS) > 80
    for path in PATHS:
        answer = client.send(
            "GET", path.encode().decode("latin-1") if path.isascii() else percent_encoded(path)
        )
        try:
            check_refused(answer)
        except AssertionError as error:
            raise AssertionError(f"{path[:200]}: {error}") from None


def percent_encoded(path: str) -> str:
    """Percent-encode the characters that are not ASCII."""
    return "".join(
        char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode()) for char in path
    )


@pytest.mark.parametrize(
    "header",
    ["", "a\tb", "k" * 256, "\xe9", "\x01"],
    ids=["empty", "tab", "too long", "not UTF-8", "control"],
)
def test_invalid_idempotency_headers_are_refused(exchange: RunningExchange, header: str) -> None:
    """The exchange must not cut or clean the header: that would make another key of it."""
    body = json.dumps(VALID_ORDER).encode()
    request = (
        b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Idempotency-Key: " + header.encode("latin-1") + b"\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
    assert status_of(send_bytes(exchange, request)) == 400


RAW_REQUESTS = [
    b"\r\n\r\n\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /orderbook HTTP/9.9\r\n\r\n",
    b"GET /order book HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    b"GET /orderbook?instrument=\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: abc\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"GET /orderbook HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", RAW_REQUESTS, ids=range(len(RAW_REQUESTS)))
def test_bytes_that_are_not_http_harm_no_other_client(
    exchange: RunningExchange, client: Client, request_bytes: bytes
) -> None:
    """The server may refuse the bytes, close the connection, or understand them as a request."""
    answer = send_bytes(exchange, request_bytes, half_close=True)
    assert not answer or status_of(answer) < 500 or status_of(answer) == 505, answer[:200]
    assert client.get("/healthz").status == 200


def test_a_client_that_leaves_while_it_sends_a_body_harms_no_other_client(
    exchange: RunningExchange, client: Client
) -> None:
    """The log has no error, either: the fixture `exchange` checks that."""
    head = b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", exchange.port)) as connection:
            connection.sendall(head + b"Content-Length: 100\r\n\r\n{")
        assert client.get("/healthz").status == 200


def test_a_chunked_body_that_is_too_large_is_refused(exchange: RunningExchange) -> None:
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    request = (
        b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 5 + b"0\r\n\r\n"
    )
    assert status_of(send_bytes(exchange, request)) == 413


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def send_bytes(exchange: RunningExchange, request: bytes, *, half_close: bool = False) -> bytes:
    """Send a request, and return all bytes until the server closes the connection.

    With `half_close`, tell the server after the request that no more bytes will follow.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", exchange.port), timeout=ANSWER_SECONDS_MAX) as connection:
        try:
            connection.sendall(request)
            if half_close:
                with contextlib.suppress(OSError):  # the exchange may have closed it already
                    connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer
