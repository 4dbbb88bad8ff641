"""Requests of operators and their tools: health, metrics and the docs page."""

import re

import pytest

from tests.contract.client import TIME, Client
from tests.contract.stream import make_trade
from tests.system.exchange import wait_until


def test_health_shows_every_check(client: Client) -> None:
    health = client.get("/healthz").json
    assert health.keys() == {"status", "timestamp", "uptime", "checks"}
    assert health["status"] == "healthy"
    assert health["checks"] == {"database": "ok", "redis": "ok", "matching": "ok"}
    assert TIME.fullmatch(health["timestamp"])
    assert health["uptime"] > 0


def test_livez_says_that_the_process_is_alive(client: Client) -> None:
    answer = client.get("/livez")
    assert answer.json == {"status": "alive"}
    assert client.send("HEAD", "/livez").status == 200


METRICS = (
    *("exchange_orders_received_total", "exchange_orders_accepted_total", "exchange_orders_rejected_total"),
    *("exchange_trades_matched_total", "exchange_orders_cancelled_total", "exchange_queue_length"),
    *("exchange_batch_commands_count", "exchange_commit_seconds_count"),
    *("exchange_order_latency_seconds_count", "exchange_cancel_latency_seconds_count"),
    *("exchange_websocket_connections", "exchange_worker_up", "exchange_oldest_command_age_seconds"),
    *("exchange_resting_orders", "exchange_requests_total", "exchange_request_seconds_count"),
    *("exchange_process_cpu_seconds", "exchange_process_resident_memory_bytes", "exchange_build_info"),
    *("exchange_websocket_messages_sent_total", "exchange_websocket_messages_received_total"),
)


def metrics(client: Client) -> dict[str, float]:
    """Return the values of all metrics by name, each the sum over all labels."""
    answer = client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    values: dict[str, float] = {}
    for line in answer.text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            name = name.split("{")[0]
            values[name] = values.get(name, 0) + float(value)
    return values


def test_metrics_count_orders_trades_and_cancels(client: Client, instrument: str) -> None:
    before = metrics(client)
    assert set(METRICS) <= set(before)
    make_trade(client, instrument)
    client.cancel(client.place(instrument, "buy", 1, 10)["order_id"])
    assert client.post("/orders", {}).status == 400

    def grown() -> dict[str, float]:
        now = metrics(client)
        return {name: now[name] - before[name] for name in METRICS}

    # The worker answers first and counts afterwards.
    wait_until(lambda: grown()["exchange_orders_cancelled_total"] >= 1, "the worker has counted")
    growth = grown()
    assert growth["exchange_orders_received_total"] == 4
    assert growth["exchange_orders_accepted_total"] == 3
    assert growth["exchange_trades_matched_total"] == 1
    assert growth["exchange_orders_cancelled_total"] == 1
    assert growth["exchange_order_latency_seconds_count"] >= 3
    assert growth["exchange_cancel_latency_seconds_count"] == 1
    assert growth["exchange_batch_commands_count"] >= 4
    assert growth["exchange_commit_seconds_count"] >= 4


def series(client: Client, name: str) -> dict[str, float]:
    """Return the values of a metric by its labels, which are not parsed."""
    found = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", client.get("/metrics").text, flags=re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_orders_trades_and_cancels_are_counted_by_instrument(client: Client, instrument: str) -> None:
    make_trade(client, instrument)
    client.cancel(client.place(instrument, "buy", 1, 10)["order_id"])
    client.place(instrument, "sell", 1, 20)
    labels = f'instrument="{instrument}",partition="0"'

    def counted() -> list[float]:
        names = ("orders_accepted", "trades_matched", "orders_cancelled", "orders_rejected")
        return [series(client, f"exchange_{name}_total").get(labels, 0) for name in names]

    wait_until(lambda: counted() == [4, 1, 1, 0], "the worker has counted")
    wait_until(
        lambda: series(client, "exchange_resting_orders")[labels] == 1, "the worker has sent its heartbeat"
    )


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "status"),
    [
        ("GET", "/orderbook", "/orderbook", 200),
        ("HEAD", "/orderbook/", "/orderbook", 200),
        ("GET", "/orders?limit=0", "/orders", 400),
        ("GET", "/orders/01990000-0000-7000-8000-000000000000", "/orders/{order_id}", 404),
        ("POST", "/orders/01990000-0000-7000-8000-000000000000/cancel", "/orders/{order_id}/cancel", 404),
        ("DELETE", "/trades", "/trades", 405),
        ("GET", "/nothing/of/the/kind", "none", 404),
        ("GET", "/livez", "/livez", 200),
    ],
)
def test_requests_are_counted_by_endpoint_and_status(
    client: Client, method: str, path: str, endpoint: str, status: int
) -> None:
    labels = f'endpoint="{endpoint}",method="{method}",status="{status}"'

    def counts() -> tuple[float, float]:
        times = series(client, "exchange_request_seconds_count")
        return (
            series(client, "exchange_requests_total").get(labels, 0),
            times.get(f'endpoint="{endpoint}"', 0),
        )

    before = counts()
    assert client.send(method, path).status == status
    assert counts()[0] == before[0] + 1
    assert counts()[1] >= before[1] + 1


# HTTP defines them, so that every server reads them. No endpoint has them.
UNKNOWN_METHODS = ("COPY", "MKCOL", "MOVE", "PROPFIND", "PURGE", "REPORT", "SEARCH", "UNLOCK")


def test_unknown_paths_and_methods_make_no_new_series(client: Client) -> None:
    def names() -> set[str]:
        return set(series(client, "exchange_requests_total"))

    def send_unknown(name: str, method: str) -> None:
        assert client.send("GET", f"/unknown/{name}").status == 404
        assert client.send("GET", f"/orders/{name}").status == 404
        assert client.send(method, "/trades").status == 405

    send_unknown("first", "LOCK")
    names()  # makes the series of /metrics
    before = names()
    for number, method in enumerate(UNKNOWN_METHODS):
        send_unknown(str(number), method)
    assert names() == before


def refusals(client: Client) -> dict[str, float]:
    """Return the number of refused requests to place an order, by error code."""
    text = client.get("/metrics").text
    found = re.findall(r'^exchange_orders_refused_total{code="(\w+)"} (\S+)$', text, flags=re.MULTILINE)
    return {code: float(count) for code, count in found}


@pytest.mark.parametrize(
    ("path", "body", "headers", "code"),
    [
        ("/orders", b"not json", {}, "invalid_request"),
        ("/orders/", b"{}", {}, "invalid_request"),
        ("/orders", b" " * (64 * 1024 + 1), {}, "payload_too_large"),
        ("/orders", b"{}", {"Content-Type": "text/plain"}, "unsupported_media_type"),
    ],
    ids=["no JSON", "no order", "too large", "another type"],
)
def test_a_refused_order_is_counted_with_the_code_of_its_answer(
    client: Client, path: str, body: bytes, headers: dict[str, str], code: str
) -> None:
    received, refused = metrics(client)["exchange_orders_received_total"], refusals(client)
    answer = client.post(path, body, headers)
    answer.error(answer.status, code)
    assert metrics(client)["exchange_orders_received_total"] == received + 1
    assert refusals(client) == refused | {code: refused.get(code, 0) + 1}


def test_other_refused_requests_are_not_counted_as_orders(client: Client) -> None:
    before = metrics(client)["exchange_orders_received_total"], refusals(client)
    client.get("/orders?limit=0").error(400, "invalid_request")
    client.post("/orders/01990000-0000-7000-8000-000000000000/cancel").error(404, "order_not_found")
    assert (metrics(client)["exchange_orders_received_total"], refusals(client)) == before


def test_the_docs_page_and_its_files_are_served(client: Client) -> None:
    page = client.get("/docs")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    sources = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(sources) >= 3
    for source in sources:
        assert client.get(source).status == 200
    assert "/docs/schema" in page.text
    assert client.get("/docs/schema", format="json").status == 200


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "nonsense"])
def test_answers_are_json_whatever_the_client_accepts(client: Client, accept: str) -> None:
    assert client.send("GET", "/orderbook", headers={"Accept": accept}).json["instrument"] == "BTC-USD"
