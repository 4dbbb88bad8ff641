"""Methods, paths, content types and sizes of requests."""

import json

import pytest

from tests.contract.client import Client, order_body

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
BODY_BYTES_MAX = 64 * 1024


def test_a_trailing_slash_is_optional(client: Client, instrument: str) -> None:
    order = client.post("/orders/", order_body(instrument, "buy", 1, 10)).json
    assert client.get(f"/orders/{order['order_id']}/").json == order
    assert client.get(f"/orders/?client_id=client-A&instrument={instrument}").json["orders"] == [order]
    assert client.post(f"/orders/{order['order_id']}/cancel/").status == 200
    for path in ("/orderbook", "/trades", "/trades/stats", "/instruments", "/candles", "/healthz"):
        assert client.get(path + "/").json.keys() == client.get(path).json.keys()


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        *[("/orders", method, {"GET", "HEAD", "POST"}) for method in ("PUT", "DELETE", "PATCH", "OPTIONS")],
        (f"/orders/{UNKNOWN_ID}", "POST", {"GET", "HEAD"}),
        (f"/orders/{UNKNOWN_ID}", "DELETE", {"GET", "HEAD"}),
        (f"/orders/{UNKNOWN_ID}/cancel", "GET", {"POST"}),
        *[
            (path, "POST", {"GET", "HEAD"})
            for path in ("/orderbook", "/trades", "/trades/stats", "/instruments", "/candles", "/healthz")
        ],
        *[(path, "POST", {"GET", "HEAD"}) for path in ("/metrics", "/docs", "/docs/schema")],
        *[(path, "OPTIONS", {"GET", "HEAD"}) for path in ("/metrics", "/docs", "/docs/schema")],
    ],
)
def test_methods_that_are_not_allowed(client: Client, path: str, method: str, allowed: set[str]) -> None:
    answer = client.send(method, path)
    answer.error(405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_head_is_get_without_a_body(client: Client) -> None:
    answer = client.send("HEAD", "/orderbook")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/order",
            "/orders/a/b",
            f"/orders/{UNKNOWN_ID}/cancel/now",
            "/trades/x",
            "/Orders",
            "//orders",
        ),
        *("/stream", "/docs/x", "/static/none.js", "/metrics/x", "/adminx", "/orders/../../etc/passwd"),
    ],
)
def test_unknown_paths(client: Client, path: str) -> None:
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
def test_other_content_types(client: Client, instrument: str, content_type: str) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    answer = client.send("POST", "/orders", body, {"Content-Type": content_type})
    answer.error(415, "unsupported_media_type")


def test_an_uploaded_form_is_refused(client: Client) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="side"\r\n\r\nbuy\r\n--x--\r\n'
    answer = client.send("POST", "/orders", form, {"Content-Type": "multipart/form-data; boundary=x"})
    answer.error(415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_content_types(client: Client, instrument: str, content_type: str) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    assert client.send("POST", "/orders", body, {"Content-Type": content_type}).status == 201


def test_a_body_may_have_64_kib_and_not_a_byte_more(client: Client, instrument: str) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    assert client.post("/orders", body.ljust(BODY_BYTES_MAX)).status == 201
    client.post("/orders", body.ljust(BODY_BYTES_MAX + 1)).error(413, "payload_too_large")
    assert client.book(instrument)["sequence"] == 1
