"""Ambiguous requests are refused.

Parameters must not be repeated, unknown or empty. Headers and the keys of a body must not be repeated.
A body must not be encoded, and a cursor must belong to its query.
"""

import json
from urllib.parse import quote

import pytest

from tests.contract.client import Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.market import Market
from tests.contract.test_bad_input import send_bytes, status_of
from tests.system.exchange import RunningExchange

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
PARAMETERS = {
    "/candles": {
        "instrument": "BTC-USD",
        "interval": "1m",
        "start": "2026-01-01",
        "end": "2027-01-01",
        "fill": "true",
        "limit": "1",
    },
    "/docs/schema": {"format": "json"},
    "/docs/stream": {},
    "/fills": {
        "client_id": "a",
        "order_id": UNKNOWN_ID,
        "instrument": "BTC-USD",
        "start": "2026-01-01",
        "end": "2027-01-01",
        "sort": "asc",
        "limit": "1",
        "cursor": "x",
    },
    "/healthz": {},
    "/instruments": {},
    "/metrics": {},
    "/orderbook": {"instrument": "BTC-USD", "levels": "1"},
    "/orders": {
        "client_id": "a",
        "instrument": "BTC-USD",
        "status": "open",
        "idempotency_key": "k",
        "start": "2026-01-01",
        "end": "2027-01-01",
        "sort": "asc",
        "limit": "1",
        "cursor": "x",
    },
    f"/orders/{UNKNOWN_ID}": {},
    "/ticker": {"instrument": "BTC-USD"},
    "/tickers": {},
    "/time": {},
    "/trades": {
        "instrument": "BTC-USD",
        "start": "2026-01-01",
        "end": "2027-01-01",
        "sort": "asc",
        "limit": "1",
        "cursor": "x",
    },
    "/trades/stats": {"instrument": "BTC-USD", "window": "1h"},
}
PARAMETERS_WITH_VALUES = [
    (path, name, value) for path, parameters in PARAMETERS.items() for name, value in parameters.items()
]
SINGLE_PARAMETERS_WITH_VALUES = [
    given for given in PARAMETERS_WITH_VALUES if given[:2] != ("/orders", "status")
]
COMMAND_PATHS = ["/orders", f"/orders/{UNKNOWN_ID}/cancel"]
UNKNOWN_NAMES = ["symbol", "trade_id", "Instrument", "limit[]", "price", "é", "x" * 100]


@ON_UVICORN
@pytest.mark.parametrize("path", PARAMETERS)
@pytest.mark.parametrize("name", UNKNOWN_NAMES)
def test_an_unknown_parameter_is_refused_and_the_known_ones_are_named(
    client: Client, path: str, name: str
) -> None:
    error = client.get(f"{path}?{quote(name)}=ETH-USD").error(400, "invalid_request")
    [(named, [message])] = error["fields"].items()
    assert named == name[:64]
    for known in PARAMETERS[path]:
        assert known in message
    assert client.get(f"{path}/?{quote(name)}=").refused_fields() == {name[:64]}


@pytest.mark.parametrize(("path", "name", "value"), SINGLE_PARAMETERS_WITH_VALUES)
def test_a_repeated_parameter_is_refused(client: Client, path: str, name: str, value: str) -> None:
    escaped = f"%{ord(name[0]):02x}{name[1:]}"
    for second in (f"{name}={value}", f"{name}=other", f"{escaped}={value}", f"{name}="):
        assert client.get(f"{path}?{name}={value}&{second}").refused_fields() == {name}


@ON_UVICORN
@pytest.mark.parametrize(("path", "name", "value"), PARAMETERS_WITH_VALUES)
def test_an_empty_parameter_is_refused(client: Client, path: str, name: str, value: str) -> None:
    for query in (f"{name}=", name, f"{name}=&"):
        assert client.get(f"{path}?{query}").refused_fields() == {name}


@pytest.mark.parametrize("path", COMMAND_PATHS)
@pytest.mark.parametrize("query", ["dry_run=true", "client_id=client-A", "instrument=ETH-USD"])
def test_orders_and_cancels_take_no_query_parameters(
    client: Client, instrument: str, path: str, query: str
) -> None:
    name = query.split("=", maxsplit=1)[0]
    answer = client.post(f"{path}?{query}", order_body(instrument, "buy", 1, 10))
    assert answer.refused_fields() == {name}
    assert client.book(instrument)["sequence"] == 0


def test_an_empty_query_is_accepted(client: Client) -> None:
    for path in PARAMETERS:
        assert client.get(f"{path}?").status == (400 if path == "/fills" else client.get(path).status)


def test_errors_name_the_valid_choices(client: Client) -> None:
    for path, choices in {
        "/orders?status=done": (
            *("pending", "open", "partially_filled", "filled", "cancelled", "rejected"),
            *("resting", "finished"),
        ),
        "/orders?status=open&status=done": ("pending", "resting", "finished"),
        "/orders?sort=newest": ("asc", "desc"),
        "/fills?client_id=a&sort=ASC": ("asc", "desc"),
        "/trades?sort=timestamp": ("asc", "desc"),
        "/candles?interval=2m": ("1m", "5m", "15m", "1h", "4h", "1d"),
        "/candles?fill=yes": ("true", "false"),
    }.items():
        [(name, [message])] = client.get(path).error(400, "invalid_request")["fields"].items()
        assert f"{name}=" in path
        assert all(choice in message for choice in choices)
    error = client.get("/ticker?instrument=NO-USD").error(404, "instrument_not_found")
    assert "/instruments" in error["message"]
    for field, choices in {"side": ("buy", "sell"), "type": ("limit", "market")}.items():
        body = order_body("BTC-USD", "buy", 1, 10) | {field: "x"}
        [message] = client.post("/orders", body).error(400, "invalid_request")["fields"][field]
        assert all(choice in message for choice in choices)


SINGLE_HEADERS = {
    "Idempotency-Key": "k",
    "Content-Type": "application/json",
    "Host": "127.0.0.1",
    "Authorization": "Bearer a.b",
    "Origin": "http://127.0.0.1",
    "User-Agent": "a",
    "Referer": "http://127.0.0.1/",
    "X-API-Key": "k",
    "Date": "Sat, 28 Nov 2026 00:00:00 GMT",
}
LIST_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Cache-Control": "no-cache",
    "Content-Encoding": "identity",
    "Via": "1.1 a",
    "X-Forwarded-For": "10.0.0.1",
    "Forwarded": "for=10.0.0.1",
}


def order_request(instrument: str, *headers: tuple[str, str]) -> bytes:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    head = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [*head.items(), *headers, ("Connection", "close")]
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"POST /orders HTTP/1.1\r\n{text}\r\n".encode() + body


@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
@pytest.mark.parametrize("name", SINGLE_HEADERS)
def test_a_repeated_single_valued_header_is_refused(
    exchange: RunningExchange, client: Client, instrument: str, name: str, same: bool
) -> None:
    value = SINGLE_HEADERS[name]
    headers = [(name, value), (name.upper(), value if same else f"{value}0")]
    if name in ("Host", "Content-Type"):
        headers = headers[1:]
    answer = send_bytes(exchange, order_request(instrument, *headers))
    assert status_of(answer) == 400, answer
    assert client.book(instrument)["sequence"] == 0


@pytest.mark.parametrize("name", LIST_HEADERS)
def test_a_list_header_may_be_sent_in_two_lines(
    exchange: RunningExchange, instrument: str, name: str
) -> None:
    headers = [(name, LIST_HEADERS[name])] * 2
    assert status_of(send_bytes(exchange, order_request(instrument, *headers))) == 201


def test_the_error_names_the_repeated_header(exchange: RunningExchange) -> None:
    answer = send_bytes(
        exchange, order_request("BTC-USD", ("Idempotency-Key", "a"), ("Idempotency-Key", "b"))
    )
    fields = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["fields"]
    assert fields == {"idempotency-key": ["Sent more than once."]}


@ON_UVICORN
@pytest.mark.parametrize("command", ["place", "cancel"])
def test_a_repeated_key_of_a_body_is_refused(client: Client, instrument: str, command: str) -> None:
    order = client.place(instrument, "buy", 1, 10)
    body = json.dumps(order_body(instrument, "sell", 1, 10))[:-1]
    if command == "cancel":
        path, body = f"/orders/{order['order_id']}/cancel", '{"client_id":"somebody-else"'
    else:
        path = "/orders"
    for repeated in ('"client_id":"client-A"', '"client\\u005fid":"client-A"'):
        assert client.post(path, f"{body},{repeated}}}".encode()).refused_fields() == {"client_id"}
    assert client.order(order["order_id"])["status"] == "open"
    assert client.book(instrument)["sequence"] == 1


@ON_UVICORN
@pytest.mark.parametrize("name", ["client_id", "instrument", "side", "type", "price", "quantity"])
def test_each_field_of_an_order_may_be_sent_only_once(client: Client, instrument: str, name: str) -> None:
    body = order_body(instrument, "buy", 1, 10)
    repeated = json.dumps({name: body[name]})[1:-1]
    assert client.post("/orders", f"{json.dumps(body)[:-1]},{repeated}}}".encode()).refused_fields() == {name}


CODINGS = ["gzip", "br", "deflate", "zstd", "GZIP", "x-unknown", "identity, gzip", "gzip, identity"]


@ON_UVICORN
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("path", COMMAND_PATHS)
def test_an_encoded_body_is_refused_without_being_read(
    client: Client, instrument: str, path: str, coding: str
) -> None:
    for body in (order_body(instrument, "buy", 1, 10), b"\x1f\x8b\x08\x00", b"{"):
        answer = client.post(path, body, {"Content-Encoding": coding})
        answer.error(415, "unsupported_media_type")
        assert answer.headers["Accept-Encoding"] == "identity"
    assert client.book(instrument)["sequence"] == 0


@pytest.mark.parametrize("coding", ["identity", "Identity", "identity, identity"])
def test_a_body_with_the_coding_identity_is_accepted(client: Client, instrument: str, coding: str) -> None:
    body = order_body(instrument, "buy", 1, 10)
    assert client.post("/orders", body, {"Content-Encoding": coding}).status == 201


@ON_UVICORN
def test_a_cursor_of_another_query_is_refused(client: Client, market: Market, client_id: str) -> None:
    instruments = [market.fresh_instrument() for _ in range(2)]
    for instrument in instruments:
        for _ in range(2):
            client.place(instrument, "sell", 1, 10, client_id=client_id)
            client.place(instrument, "buy", 1, 10, client_id=client_id)
    one, other = instruments
    queries = [
        f"/orders?client_id={client_id}",
        f"/orders?client_id={client_id}&instrument={one}",
        f"/orders?client_id={client_id}&instrument={other}",
        f"/orders?client_id={client_id}&instrument={one}&status=filled",
        f"/orders?instrument={one}",
        "/orders?status=filled",
        f"/trades?instrument={one}",
        f"/trades?instrument={other}",
        f"/trades?instrument={one}&sort=asc",
        f"/trades?instrument={one}&start=2026-01-01",
        f"/trades?instrument={one}&end=2126-01-01",
        f"/orders?client_id={client_id}&sort=asc",
        f"/orders?client_id={client_id}&start=2026-01-01",
        f"/orders?client_id={client_id}&start=2026-01-01T00:00:00.001Z",
        f"/orders?client_id={client_id}&end=2126-01-01",
        f"/orders?client_id={client_id}&status=filled",
        f"/orders?client_id={client_id}&status=filled&status=open",
        f"/fills?client_id={client_id}",
        f"/fills?client_id={client_id}&sort=asc",
        f"/fills?client_id={client_id}&instrument={one}",
        f"/fills?client_id={client_id}&start=2026-01-01&end=2126-01-01",
    ]
    cursors = {query: client.get(f"{query}&limit=1").json["next_cursor"] for query in queries}
    for query in queries:
        for origin, cursor in cursors.items():
            answer = client.get(f"{query}&limit=2&cursor={cursor}")
            if origin == query:
                assert answer.status == 200
            else:
                assert answer.refused_fields() == {"cursor"}


@ON_UVICORN
def test_a_cursor_fits_every_spelling_of_its_query(client: Client, instrument: str, client_id: str) -> None:
    for _ in range(2):
        client.place(instrument, "buy", 1, 10, client_id=client_id)
    base = f"/orders?client_id={client_id}&limit=1"
    for spellings in (
        ("", "&sort=desc"),
        ("&start=2026-01-01", "&start=2026-01-01T00:00:00Z", "&start=2026-01-01T01:00:00%2B01:00"),
        (
            "&status=resting",
            "&status=partially_filled&status=open",
            "&status=open&status=open&status=resting",
        ),
    ):
        cursor = client.get(base + spellings[0]).json["next_cursor"]
        for spelling in spellings:
            assert client.get(f"{base}{spelling}&cursor={cursor}").status == 200
