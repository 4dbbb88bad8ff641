"""Whatever is sent, the answer is a 4xx in the one error shape, and the book is as it was."""

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

GOOD = order_body("BTC-USD", "buy", 1, 10)
ANSWER_SECONDS_MAX = PATIENCE_SECONDS


def raw(name: str, value: str) -> bytes:
    """A good order with one field's JSON text replaced, or added."""
    fields = {key: json.dumps(field) for key, field in GOOD.items()} | {name: value}
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
    b"[" + json.dumps(GOOD).encode() + b"]",
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
    raw("price", "[" * 5_000 + "]" * 5_000),
    json.dumps(GOOD).encode() + b"x",
    json.dumps(GOOD).encode() * 2,
    b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    json.dumps(GOOD).encode("utf-16"),
    json.dumps(GOOD).encode("utf-16-le"),
    json.dumps(GOOD).encode("utf-32"),
    b"/* comment */" + json.dumps(GOOD).encode(),
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
    *[raw(name, text) for name in ("price", "quantity") for text in BAD_NUMBERS],
    *[raw(name, text) for name in ("instrument", "side", "type") for text in (*BAD_TEXTS, "null")],
    *[raw("client_id", text) for text in (*BAD_TEXTS[:-5], '"a b"', '"a/b"', "null")],
    *[
        raw("idempotency_key", text)
        for text in ("1", "[]", "{}", '""', '"\\u0000"', '"a\\nb"', '"\\ud800"', '"' + "x" * 256 + '"')
    ],
    raw("price", "null"),
    raw("quantity", "null"),
    *[
        json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()
        for name in (*REQUIRED, "price")
    ],
    *[raw(name, '"x"') for name in ("order_id", "status", "time_in_force", "Price", "", "price ", "💥")],
]

PLACES = (
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
    *[place + garbage for place in PLACES for garbage in GARBAGE],
    *[f"/orderbook?levels={number}" for number in BAD_INTEGERS],
    *[f"{place}?limit={number}" for place in ("/orders", "/trades", "/candles") for number in BAD_INTEGERS],
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
    """What must not move."""

    sequence: int
    bids: list[Any]
    asks: list[Any]
    orders: int


@pytest.fixture(autouse=True)
def untouched(client: Client, market: Market) -> Iterator[None]:
    """The book and the orders are the same before and after."""
    before = state(client, market)
    yield
    assert state(client, market) == before


def state(client: Client, market: Market) -> State:
    book = client.book("BTC-USD")
    row = market.database.execute("SELECT count(*) FROM orders_order").fetchone()
    assert row is not None
    return State(book["sequence"], book["bids"], book["asks"], row[0])


def check_refused(answer: Answer) -> None:
    """A 4xx in the one shape."""
    assert 400 <= answer.status < 500, (answer.status, answer.text)
    answer.error(answer.status, answer.json["error"]["code"])


def test_bad_bodies(client: Client) -> None:
    assert len(BODIES) > 80
    for body in BODIES:
        answer = client.post("/orders", body)
        try:
            check_refused(answer)
            assert answer.status == 400
        except AssertionError as error:
            raise AssertionError(f"{body[:200]!r}: {error}") from None


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null"])
def test_a_body_that_is_no_object_is_told_so(client: Client, body: bytes) -> None:
    error = client.post("/orders", body).error(400, "invalid_request")
    assert error["fields"] == {"body": ["Must be a JSON object."]}


def test_bad_bodies_of_cancels(client: Client) -> None:
    path = "/orders/01990000-0000-7000-8000-000000000000/cancel"
    for body in (*WHOLE_BODIES, b'{"client_id":1}', b'{"client_id":"a b"}', b'{"reason":"x"}'):
        if body in (b"", b"{}"):
            continue
        try:
            client.post(path, body).error(400, "invalid_request")
        except AssertionError as error:
            raise AssertionError(f"{body[:200]!r}: {error}") from None


def test_bad_paths_and_queries(client: Client) -> None:
    assert len(PATHS) > 80
    for path in PATHS:
        answer = client.send("GET", path.encode().decode("latin-1") if path.isascii() else quoted(path))
        try:
            check_refused(answer)
        except AssertionError as error:
            raise AssertionError(f"{path[:200]}: {error}") from None


def quoted(path: str) -> str:
    """What is not ASCII, percent-encoded."""
    return "".join(
        char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode()) for char in path
    )


@pytest.mark.parametrize(
    "header",
    ["", "a\tb", "k" * 256, "\xe9", "\x01"],
    ids=["empty", "tab", "too long", "not UTF-8", "control"],
)
def test_bad_idempotency_headers(exchange: RunningExchange, header: str) -> None:
    """Read to the last byte: a key that is cut or cleaned would be another key."""
    body = json.dumps(GOOD).encode()
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
def test_what_is_not_http(exchange: RunningExchange, client: Client, request_bytes: bytes) -> None:
    """The server below refuses, hangs up or makes sense of it; nobody else notices."""
    answer = send_bytes(exchange, request_bytes, half_close=True)
    assert not answer or status_of(answer) < 500 or status_of(answer) == 505, answer[:200]
    assert client.get("/healthz").status == 200


def test_a_client_may_leave_in_the_middle_of_its_body(exchange: RunningExchange, client: Client) -> None:
    """Nobody notices, the log included."""
    head = b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", exchange.port)) as connection:
            connection.sendall(head + b"Content-Length: 100\r\n\r\n{")
        assert client.get("/healthz").status == 200


def test_a_chunked_body_is_bounded_too(exchange: RunningExchange) -> None:
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    request = (
        b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 5 + b"0\r\n\r\n"
    )
    assert status_of(send_bytes(exchange, request)) == 413


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def send_bytes(exchange: RunningExchange, request: bytes, *, half_close: bool = False) -> bytes:
    """What comes back until the other side closes; with `half_close` we say that no more is coming."""
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
