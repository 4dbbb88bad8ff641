"""Methods, paths, content types and sizes of requests."""

import http.client
import json
import socket

import pytest

from tests.contract.client import ANSWER_SECONDS_MAX, Answer, Client, order_body
from tests.contract.conftest import ON_BOTH
from tests.system.exchange import RunningExchange

pytestmark = ON_BOTH

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
BODY_BYTES_MAX = 64 * 1024
# Endpoints that answer GET with JSON and need no parameter.
READS = (
    "/candles",
    "/healthz",
    "/instruments",
    "/livez",
    "/orderbook",
    "/ticker",
    "/tickers",
    "/time",
    "/trades",
    "/trades/stats",
)


def test_a_trailing_slash_is_optional(client: Client, instrument: str) -> None:
    order = client.post("/orders/", order_body(instrument, "buy", 1, 10)).json
    assert client.get(f"/orders/{order['order_id']}/").json == order
    assert client.get(f"/orders/?client_id=client-A&instrument={instrument}").json["orders"] == [order]
    assert client.post(f"/orders/{order['order_id']}/cancel/").status == 200
    for path in READS:
        assert client.get(path + "/").json.keys() == client.get(path).json.keys()


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        *[("/orders", method, {"GET", "HEAD", "POST"}) for method in ("PUT", "DELETE", "PATCH", "OPTIONS")],
        (f"/orders/{UNKNOWN_ID}", "POST", {"GET", "HEAD"}),
        (f"/orders/{UNKNOWN_ID}", "DELETE", {"GET", "HEAD"}),
        (f"/orders/{UNKNOWN_ID}/cancel", "GET", {"POST"}),
        *[(path, "POST", {"GET", "HEAD"}) for path in (*READS, "/fills")],
        *[(path, "POST", {"GET", "HEAD"}) for path in ("/metrics", "/docs", "/docs/schema", "/docs/stream")],
        *[(path, "OPTIONS", {"GET", "HEAD"}) for path in ("/metrics", "/docs", "/docs/schema")],
    ],
)
def test_other_methods_are_refused_and_the_allowed_ones_named(
    client: Client, path: str, method: str, allowed: set[str]
) -> None:
    answer = client.send(method, path)
    answer.error(405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_head_is_get_without_a_body(client: Client) -> None:
    for path in ("/orderbook", "/orders", "/fills?client_id=client-A", "/trades?sort=asc", "/tickers"):
        answer = client.send("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/order",
            "/orders/a/b",
            f"/orders/{UNKNOWN_ID}/cancel/now",
            "/trades/x",
            "/Orders",
            "//orders",
        ),
        *(
            "/stream",
            "/docs/x",
            "/static/none.js",
            "/screen",
            "/screen/none.js",
            "/metrics/x",
            "/adminx",
            "/orders/../../etc/passwd",
        ),
    ],
)
def test_unknown_paths_are_not_found(client: Client, path: str) -> None:
    client.get(path).error(404, "not_found")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "json",
    ],
)
def test_other_content_types_are_refused(client: Client, instrument: str, content_type: str) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    answer = client.send("POST", "/orders", body, {"Content-Type": content_type})
    answer.error(415, "unsupported_media_type")


def test_an_uploaded_form_is_refused(client: Client) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="side"\r\n\r\nbuy\r\n--x--\r\n'
    answer = client.send("POST", "/orders", form, {"Content-Type": "multipart/form-data; boundary=x"})
    answer.error(415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_content_types_may_have_parameters_and_capitals(
    client: Client, instrument: str, content_type: str
) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    assert client.send("POST", "/orders", body, {"Content-Type": content_type}).status == 201


def test_a_body_may_have_64_kib_and_not_a_byte_more(client: Client, instrument: str) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    assert client.post("/orders", body.ljust(BODY_BYTES_MAX)).status == 201
    client.post("/orders", body.ljust(BODY_BYTES_MAX + 1)).error(413, "payload_too_large")
    assert client.book(instrument)["sequence"] == 1


@pytest.mark.parametrize("megabytes", [1, 4])
def test_a_client_that_sends_its_whole_body_first_gets_the_413(
    client: Client, instrument: str, megabytes: int
) -> None:
    client.post("/orders", b" " * megabytes * 1024 * 1024).error(413, "payload_too_large")
    assert client.post("/orders", order_body(instrument, "buy", 1, 10)).status == 201


def test_a_chunked_body_is_accepted(client: Client, exchange: RunningExchange, instrument: str) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    chunks = (body[start : start + 7] for start in range(0, len(body), 7))
    headers = {"Content-Type": "application/json"}
    answer = exchange.post("/orders", content=chunks, headers=headers)
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.status_code == 201
    assert client.book(instrument)["sequence"] == 1


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost.evil.example", "null", "http://["]
)
def test_pages_of_other_origins_cannot_place_or_cancel_orders(
    client: Client, instrument: str, origin: str
) -> None:
    order = client.place(instrument, "buy", 1, 10)
    foreign = {"Origin": origin}
    client.post("/orders", order_body(instrument, "buy", 1, 10), foreign).error(403, "forbidden")
    client.post(f"/orders/{order['order_id']}/cancel", headers=foreign).error(403, "forbidden")
    assert client.book(instrument)["sequence"] == 1
    assert client.send("GET", "/orderbook", headers=foreign).status == 200


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:3000"])
def test_pages_of_our_own_origin_may_trade(client: Client, instrument: str, origin: str) -> None:
    assert client.post("/orders", order_body(instrument, "buy", 1, 10), {"Origin": origin}).status == 201


MALFORMED = [
    b"FOO /orders HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01 / HTTP/1.1\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED)
def test_a_malformed_request_is_answered_in_the_common_error_format(
    exchange: RunningExchange, asgi_server: str, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", exchange.port), timeout=ANSWER_SECONDS_MAX) as connection:
        connection.sendall(request_bytes)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            answer = Answer(response.status, response.headers, response.read())
        if asgi_server == "daphne":  # Daphne's own answers have other formats
            assert 400 <= answer.status < 500
            return
        assert connection.recv(1) == b""
    answer.error(400, "invalid_request")


@pytest.mark.parametrize("path", ["/orderbook", "/metrics", "/healthz"])
def test_any_host_name_is_accepted(client: Client, path: str) -> None:
    assert client.send("GET", path, headers={"Host": "web:8000"}).status == 200


def test_space_after_an_idempotency_key_is_ignored(client: Client, instrument: str, client_id: str) -> None:
    body = order_body(instrument, "buy", 1, 10, client_id=client_id)
    statuses = [client.post("/orders", body, {"Idempotency-Key": key}).status for key in ("k", "k  ", "k\t")]
    assert statuses == [201, 200, 200]


def test_an_order_id_may_have_capitals_but_no_other_spelling(client: Client, instrument: str) -> None:
    order_id = client.place(instrument, "buy", 1, 10)["order_id"]
    assert client.get(f"/orders/{order_id.upper()}").status == 200
    for other in (f"{{{order_id}}}", order_id.replace("-", ""), f"urn:uuid:{order_id}"):
        client.get(f"/orders/{other}").error(404, "order_not_found")


def test_admin_without_a_slash_redirects_to_the_admin(client: Client) -> None:
    answer = client.get("/admin")
    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")
