"""The examples of /docs can be sent as they are, and get the documented answers."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from streaming.description import STREAM_EXAMPLES
from tests.contract.client import Answer, Client
from tests.contract.conftest import PATIENT
from tests.contract.stream import Stream
from tests.system.exchange import RunningExchange

# What else must be sent with a parameter. Without it, the answer is 400.
SENT_WITH = {("/orders", "idempotency_key"): "client_id=client-A"} | {
    ("/fills", name): "client_id=client-A"
    for name in ("instrument", "start", "end", "sort", "limit", "cursor")
}
COMMON_ERRORS = {400, 405, 413, 414, 431, 503}
POST_ERRORS = {403, 415}
COMMAND_ERRORS = {429, 504}


class Example(NamedTuple):
    """A documented value of a request, and the documented status of the answer."""

    name: str
    value: Any
    status: int


@pytest.fixture(scope="module")
def fresh_exchange() -> Iterator[RunningExchange]:
    """An exchange on which no idempotency key has been used."""
    with RunningExchange(variables=PATIENT) as running:
        yield running


@pytest.fixture
def user(fresh_exchange: RunningExchange) -> Iterator[Client]:
    with Client(fresh_exchange.url) as connected:
        yield connected


def operations(client: Client) -> dict[tuple[str, str], Any]:
    document = json.loads(client.get("/docs/schema", format="json").body)
    return {
        (method, path): found
        for path, methods in document["paths"].items()
        for method, found in methods.items()
    }


def examples(described: dict[str, Any]) -> list[Example]:
    found = []
    for name, example in described.get("examples", {}).items():
        status, _, meaning = example["summary"].partition(": ")
        assert meaning
        found.append(Example(name, example["value"], int(status)))
    return found


def valid_body(operation: dict[str, Any]) -> Any:
    """Return the first documented body of an operation that is not refused, or None."""
    if "requestBody" not in operation:
        return None
    found = examples(operation["requestBody"]["content"]["application/json"])
    return next(example.value for example in found if example.status < 400)


def query_text(name: str, value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    texts = [one if isinstance(one, str) else json.dumps(one) for one in values]
    return "&".join(f"{name}={quote(text)}" for text in texts)


def test_every_parameter_can_be_sent_alone_and_all_valid_ones_together(user: Client) -> None:
    sent = 0
    for (method, path), operation in operations(user).items():
        together = []
        for parameter in operation.get("parameters", ()):
            if parameter["in"] != "query":
                continue
            for example in examples(parameter):
                text = query_text(parameter["name"], example.value)
                needed = SENT_WITH.get((path, parameter["name"]))
                if needed is not None:
                    assert user.send(method.upper(), f"{path}?{text}").status == 400
                answer = user.send(method.upper(), f"{path}?{text}{f'&{needed}' if needed else ''}")
                assert answer.status == example.status, (path, text, answer.text)
                sent += 1
                if example.status == 200:
                    together.append(text)
        if "{" not in path and method == "get":
            assert user.get(f"{path}?{'&'.join(together)}").status == 200
    assert sent > 30


def test_every_body_gets_the_documented_status(user: Client) -> None:
    for (method, path), operation in operations(user).items():
        if "requestBody" not in operation:
            continue
        found = examples(operation["requestBody"]["content"]["application/json"])
        assert {example.status for example in found} >= {200, 400}
        order = {"client_id": "client-A", "instrument": "SOL-USD", "side": "buy", "type": "limit"}
        for example in found:
            order_id = user.post("/orders", order | {"price": 1, "quantity": 1}).json["order_id"]
            answer = user.send(
                method.upper(),
                path.format(order_id=order_id),
                json.dumps(example.value).encode(),
                {"Content-Type": "application/json"},
            )
            assert answer.status == example.status, (path, example, answer.text)


def test_the_order_id_of_the_docs_is_unknown(user: Client) -> None:
    for (method, path), operation in operations(user).items():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                [example] = examples(parameter)
                body = valid_body(operation)
                answer = user.send(
                    method.upper(),
                    path.format(**{parameter["name"]: example.value}),
                    None if body is None else json.dumps(body).encode(),
                    {"Content-Type": "application/json"},
                )
                answer.error(example.status, "order_not_found")


def test_every_operation_and_every_answer_is_described(user: Client) -> None:
    summaries = []
    for (method, path), operation in operations(user).items():
        summaries.append(operation["summary"])
        assert operation["description"]
        assert operation["tags"][0] in ("Orders", "Market", "Operations")
        statuses = {int(status) for status in operation["responses"]}
        expected = COMMON_ERRORS | (POST_ERRORS if method == "post" else set())
        if method == "post" and path != "/orders/test":
            expected |= COMMAND_ERRORS
        assert statuses >= expected, path
        for status, response in operation["responses"].items():
            assert response["description"]
            shown = response["content"]["application/json"]["examples"]
            assert shown, (path, status)
            if int(status) < 400 or (path == "/healthz" and status == "503"):
                continue
            for example in shown.values():
                error = example["value"]["error"]
                assert error["code"] in response["description"], (path, status, error)
                assert error["message"][0].isupper()
                assert error["message"].endswith((".", ")"))
    assert len(set(summaries)) == len(summaries)


def test_documented_errors_have_the_exchanges_own_words(user: Client) -> None:
    """Only errors that a client can cause are compared."""
    place = operations(user)[("post", "/orders")]["responses"]
    documented = {
        (int(status), example["value"]["error"]["message"])
        for status, response in place.items()
        if int(status) >= 400
        for example in response["content"]["application/json"]["examples"].values()
    }
    refused: list[Answer] = [
        user.post("/orders", {}),
        user.post("/orders", b'{"client_id":"a",}'),
        user.post("/orders", b"{}", {"Content-Type": "text/plain"}),
        user.post("/orders", b"{}", {"Origin": "https://evil.example"}),
        user.post("/orders", b" " * 70_000),
    ]
    for answer in refused:
        assert (answer.status, answer.json["error"]["message"]) in documented
    assert HTTPStatus.UNSUPPORTED_MEDIA_TYPE in {answer.status for answer in refused}


@pytest.mark.parametrize(("message", "answered"), STREAM_EXAMPLES, ids=range(len(STREAM_EXAMPLES)))
def test_every_message_to_the_stream_gets_the_documented_answer(
    fresh_exchange: RunningExchange, message: dict[str, Any], answered: str
) -> None:
    with Stream(fresh_exchange.ws_url) as stream:
        stream.send(message)
        assert stream.receive()["type"] == answered


def test_the_stream_is_described(user: Client) -> None:
    description = json.loads(user.get("/docs/schema", format="json").body)["info"]["description"]
    for message, _ in STREAM_EXAMPLES:
        assert json.dumps(message) in description
    for word in (
        "/docs/stream",
        "orderbook_snapshot",
        "orders_snapshot",
        "heartbeat",
        "slow_consumer",
        "previous_sequence",
    ):
        assert word in description


def test_many_clients_at_once_get_the_same_document_in_each_format(
    fresh_exchange: RunningExchange,
) -> None:
    def ask(path: str) -> tuple[int, bytes]:
        with Client(fresh_exchange.url) as client:
            answer = client.get(path)
            return answer.status, answer.body

    with ThreadPoolExecutor(16) as threads:
        for path in ("/docs/schema", "/docs/schema/?format=yaml", "/docs/schema?format=json"):
            [(status, body)] = set(threads.map(ask, [path] * 64))
            assert status == 200
            assert re.match(rb"openapi: 3\.|\{\n? *\"openapi\": \"3\.", body)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("application/json,*/*", "application/json"),
        ("application/vnd.oai.openapi+json", "application/vnd.oai.openapi+json"),
        ("application/yaml;q=0.9", "application/yaml"),
        ("text/html, */*", "application/vnd.oai.openapi"),
    ],
)
def test_the_accept_header_chooses_the_format(user: Client, accept: str, media_type: str) -> None:
    answer = user.send("GET", "/docs/schema", headers={"Accept": accept})
    assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.body.lstrip().startswith(b"{" if "json" in media_type else b"openapi")
    assert user.send("HEAD", "/docs/schema", headers={"Accept": accept}).body == b""


def test_an_unknown_format_is_refused_and_the_known_ones_are_named(user: Client) -> None:
    error = user.get("/docs/schema?format=xml").error(400, "invalid_request")
    assert error["fields"] == {"format": ["Must be one of: yaml, json."]}
