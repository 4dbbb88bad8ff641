"""The answers of a running exchange conform to its OpenAPI schema."""

import json
from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ON_UVICORN
from tests.system.exchange import RunningExchange

OPERATIONS = {
    ("/", "get"),
    ("/candles", "get"),
    ("/fills", "get"),
    ("/healthz", "get"),
    ("/instruments", "get"),
    ("/livez", "get"),
    ("/orderbook", "get"),
    ("/orders", "get"),
    ("/orders", "post"),
    ("/orders/amend", "post"),
    ("/orders/batch", "post"),
    ("/orders/cancel", "post"),
    ("/orders/cancel-after", "post"),
    ("/orders/test", "post"),
    ("/orders/{order_id}", "get"),
    ("/orders/{order_id}/amend", "post"),
    ("/orders/{order_id}/cancel", "post"),
    ("/ticker", "get"),
    ("/tickers", "get"),
    ("/time", "get"),
    ("/trades", "get"),
    ("/trades/stats", "get"),
}
# Operations without parameters or a body, so no request can be invalid.
WITHOUT_INPUT = {
    ("/", "get"),
    ("/healthz", "get"),
    ("/livez", "get"),
    ("/instruments", "get"),
    ("/tickers", "get"),
    ("/time", "get"),
}
# Invalid items of these are answered one by one, and the whole with 200.
WITH_RESULTS = {("/orders/amend", "post"), ("/orders/batch", "post")}
# These would cancel the orders of other tests, now or later.
DISTURBING = {("/orders/cancel", "post"), ("/orders/cancel-after", "post")}
# Invalid requests of the other operations are made in `make test-long`.
OFTEN = {("/orders", "post"), ("/orders", "get"), ("/trades", "get"), ("/orders/{order_id}/amend", "post")}

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def api_schema(shared_exchange: RunningExchange) -> Any:
    """The schema that the exchange serves. Two orders, a trade and a cancel were made before."""
    # Schemathesis takes a second to import. Only the processes that run these tests need it.
    from tests.contract.conformance import read_schema

    with Client(shared_exchange.url) as client:
        maker = client.place("BTC-USD", "sell", 2, 10)
        client.place("BTC-USD", "buy", 1, 10)
        client.cancel(maker["order_id"])
    return read_schema(f"{shared_exchange.url}/docs/schema?format=json")


@ON_UVICORN
@pytest.mark.parametrize(
    ("path", "method", "is_valid"),
    [(*operation, True) for operation in sorted(OPERATIONS - DISTURBING)]
    + [
        pytest.param(*operation, False, marks=[] if operation in OFTEN else pytest.mark.long)
        for operation in sorted(OPERATIONS - WITHOUT_INPUT - WITH_RESULTS)
    ],
)
@pytest.mark.parametrize("count", [5, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.usefixtures("exchange")
def test_answers_to_random_requests_conform_to_the_schema(
    api_schema: Any, path: str, method: str, is_valid: bool, count: int
) -> None:
    from tests.contract.conformance import check_random_requests

    check_random_requests(api_schema[path][method], count=count, are_valid=is_valid)


def test_the_schema_names_every_endpoint(client: Client) -> None:
    answer = client.get("/docs/schema", format="json")
    assert answer.status == 200
    paths = json.loads(answer.body)["paths"]
    operations = {(path, method) for path, methods in paths.items() for method in methods}
    assert operations == OPERATIONS


def test_answers_to_chosen_requests_conform_to_the_schema(api_schema: Any, client: Client) -> None:
    """Random requests hardly reach these answers: orders with trades, full pages, replays."""
    from tests.contract.conformance import CHECKS_OF_ANSWERS

    body = {
        "client_id": "a",
        "instrument": "BTC-USD",
        "side": "buy",
        "type": "limit",
        "price": 1,
        "quantity": "0.5",
    }
    keyed = body | {"idempotency_key": "schema"}
    order_id = client.post("/orders", body).json["order_id"]
    keyed_query = {"client_id": "a", "idempotency_key": "schema", "status": ["resting", "finished"]}
    lists: list[tuple[str, dict[str, Any], int]] = [
        ("/orders", keyed_query, 200),
        ("/orders", {"idempotency_key": "schema"}, 400),
        ("/fills", {"client_id": "client-A", "sort": "asc"}, 200),
        ("/fills", {"order_id": "01990000-0000-7000-8000-000000000000"}, 404),
        ("/fills", {}, 400),
        ("/trades", {"sort": "asc", "start": "2026-01-01"}, 200),
    ]
    refused = [{"order_id": UNKNOWN_ID, "price": 1}, {"order_id": order_id, "trigger_price": 1}]
    requests: list[tuple[str, str, Any, Any, int]] = [
        ("/orders", "POST", None, body, 201),
        ("/orders", "POST", None, keyed, 200),
        ("/orders", "POST", None, keyed | {"quantity": 1}, 422),
        ("/orders", "POST", None, body | {"price": 0}, 400),
        ("/orders/test", "POST", None, keyed, 200),
        ("/orders/batch", "POST", None, {"orders": [keyed, body, {}]}, 200),
        ("/orders/batch", "POST", None, {"orders": []}, 400),
        ("/orders/{order_id}/amend", "POST", {"order_id": order_id}, {"quantity": "0.25"}, 200),
        ("/orders/{order_id}/amend", "POST", {"order_id": order_id}, {"trigger_price": 1}, 409),
        ("/orders/amend", "POST", None, {"amends": [{"order_id": order_id, "price": 2}, *refused]}, 200),
        ("/orders/{order_id}", "GET", {"order_id": order_id}, None, 200),
        ("/orders/{order_id}/cancel", "POST", {"order_id": order_id}, {}, 200),
        ("/orders/{order_id}/cancel", "POST", {"order_id": order_id}, {}, 409),
        ("/orders/cancel", "POST", None, {"order_ids": [order_id, UNKNOWN_ID]}, 200),
        ("/orders/cancel", "POST", None, {"client_id": "a", "idempotency_key": "schema"}, 200),
        ("/orders/cancel", "POST", None, {"client_id": "a"}, 200),
        ("/orders/cancel", "POST", None, {"client_id": "a", "order_ids": []}, 400),
        ("/orders/cancel-after", "POST", None, {"client_id": "a", "timeout_seconds": 60}, 200),
        ("/orders/cancel-after", "POST", None, {"client_id": "a", "timeout_seconds": 0}, 200),
        *[
            (path, "GET", None, None, 200)
            for path in (
                "/orders",
                "/orderbook",
                "/trades",
                "/trades/stats",
                "/candles",
                "/instruments",
                "/tickers",
                "/time",
                "/healthz",
                "/livez",
            )
        ],
    ]
    client.post("/orders", keyed)
    for path, method, parameters, document, status in requests:
        case = api_schema[path][method].Case(path_parameters=parameters or {}, media_type="application/json")
        if document is not None:
            case.body = document
        response = case.call()
        assert response.status_code == status, response.content
        case.validate_response(response, checks=CHECKS_OF_ANSWERS)
    for path, parameters, status in lists:
        case = api_schema[path]["GET"].Case(query=parameters)
        response = case.call()
        assert response.status_code == status, response.content
        case.validate_response(response, checks=CHECKS_OF_ANSWERS)
