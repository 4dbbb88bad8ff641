"""What is sent on /stream conforms to the AsyncAPI document of the exchange."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from streaming.asyncapi import stream_document
from tests.contract.client import Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.stream import Stream
from tests.system.exchange import RunningExchange

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
# These come only after an outage, or to a client that is silent or slow. Other tests see them.
NOT_PROVOKED = {"heartbeat", "resumed"}
CHANNELS = ("orderbook_deltas", "trades", "orders", "fills", "quotes", "ticker", "candles", "depth")


class Described:
    """An AsyncAPI document, with a validator of each message."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.messages = document["components"]["messages"]
        self.operations = document["operations"]

    def conforms(self, name: str, message: Any) -> bool:
        """Return whether a message conforms to the schema of the message with this name."""
        return bool(self._validator(name).is_valid(message))

    def check(self, name: str, message: Any) -> None:
        self._validator(name).validate(message)

    def names(self, action: str) -> set[str]:
        """Return the names of the messages that the exchange receives or sends unasked."""
        operations = self.operations.values()
        return {
            message["$ref"].rpartition("/")[2]
            for found in operations
            if found["action"] == action
            for message in found["messages"]
        }

    def replies(self, kind: str) -> list[str]:
        """Return the names of the messages that may answer a request."""
        return [message["$ref"].rpartition("/")[2] for message in self.operations[kind]["reply"]["messages"]]

    def _validator(self, name: str) -> Draft7Validator:
        # References are resolved in the whole document.
        return Draft7Validator({**self.document, "$ref": f"#/components/messages/{name}/payload"})


class CheckedStream(Stream):
    """A stream that checks what it sends and receives against the document."""

    def __init__(self, url: str, described: Described) -> None:
        super().__init__(url)
        self._described = described
        self._asked: dict[int, str] = {}  # The type of each request, by its id.
        self.seen: set[str] = set()

    def ask(self, kind: str, **fields: Any) -> Any:
        """Send a valid request with an id. Return its result, and check what comes before it."""
        identity = self._send_request(kind, fields)
        return self.receive_until(lambda message: message.get("id") == identity)[-1]

    def ask_at_once(self, kind: str, requests: list[dict[str, Any]]) -> set[str]:
        """Send several requests before the first result. Return the codes of all errors."""
        for fields in requests:
            self._send_request(kind, fields)
        results = [self.receive() for _ in requests]
        return {result["error"]["code"] for result in results if "error" in result}

    def _send_request(self, kind: str, fields: dict[str, Any]) -> int:
        identity = len(self._asked)
        self._asked[identity] = kind
        request = {"type": kind, "id": identity, **fields}
        self._described.check(kind, request)
        self.send(request)
        return identity

    def receive_any(self, seconds_max: float) -> Any:
        message = super().receive_any(seconds_max)
        if message["type"] == "result":
            replies = self._described.replies(self._asked[message["id"]])
            names = [name for name in replies if self._described.conforms(name, message)]
            assert len(names) == 1, (message, replies)
            self.seen.add(names[0])
        else:
            self._described.check(message["type"], message)
            self.seen.add(message["type"])
        return message


@pytest.fixture
def described(client: Client) -> Described:
    answer = client.get("/docs/stream")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.aai.asyncapi+json;version=3.0.0"
    return Described(json.loads(answer.body))


@pytest.fixture
def checked(exchange: RunningExchange, described: Described) -> Iterator[CheckedStream]:
    with CheckedStream(exchange.ws_url, described) as connected:
        yield connected


@ON_UVICORN
def test_every_message_of_a_session_conforms_to_the_document(
    checked: CheckedStream, client: Client, instrument: str, client_id: str, described: Described
) -> None:
    def order(side: str, price: object, **more: Any) -> dict[str, Any]:
        return order_body(instrument, side, 1, price, client_id=client_id, **more)

    checked.subscribe(*CHANNELS, instrument=[instrument], client_id=client_id, interval="5m", throttle_ms=100)
    bid = checked.ask("place_order", order=order("buy", 10, idempotency_key="k"))["order"]["order_id"]
    assert checked.ask("place_order", order=order("buy", "10.0", idempotency_key="k"))["replayed"]
    stop = order("buy", 15, type="stop_limit", trigger_price=14)
    later = order("sell", 20, time_in_force="gtd", expires_at="2026-12-31T12:00:00.000Z")
    market = order_body(instrument, "sell", "0.5", client_id=client_id)
    placed = checked.ask("place_orders", orders=[stop, later, market, order("sell", "10.001")])
    assert [result["status"] for result in placed["results"]] in ([201, 201, 201, 400], [201, 400, 201, 400])
    checked.ask("amend_order", order_id=bid, quantity="0.75")
    by_key = {"client_id": client_id, "idempotency_key": "k", "price": 9}
    amended = checked.ask("amend_orders", amends=[by_key, {"order_id": bid, "quantity": "0.5"}])
    assert [result["status"] for result in amended["results"]] == [200, 409]
    checked.ask("cancel_order", order_id=bid)
    assert checked.ask("cancel_orders", client_id=client_id)["cancelled_count"] >= 1
    checked.ask("cancel_after", client_id=client_id, timeout_seconds=60)
    checked.ask("cancel_after", client_id=client_id, timeout_seconds=0)
    checked.ask("cancel_on_disconnect", client_id=client_id, enabled=True)
    checked.ask("ping")
    pushed = described.names("send") - NOT_PROVOKED - {"error"}
    if not pushed <= checked.seen:
        checked.receive_until(lambda _: pushed <= checked.seen)
    checked.send({"type": "unsubscribe", "channels": list(CHANNELS), "client_id": client_id})
    checked.receive_until(lambda message: message["type"] == "unsubscribed")
    assert checked.ask("cancel_order", order_id=bid)["error"]["code"] == "order_not_open"
    documented = described.messages.keys() - described.names("receive") - NOT_PROVOKED
    assert checked.seen == documented - {"error"}
    described.check("heartbeat", {"type": "heartbeat"})


@ON_UVICORN
def test_every_refusal_conforms_to_the_document(
    checked: CheckedStream, client: Client, market: Any, instrument: str, client_id: str
) -> None:
    def codes(kind: str, *requests: dict[str, Any]) -> list[str]:
        return [checked.ask(kind, **fields)["error"]["code"] for fields in requests]

    order = order_body(instrument, "buy", 1, 10, client_id=client_id)
    keyed = {**order, "idempotency_key": "k"}
    order_id = client.post("/orders", keyed).json["order_id"]
    refused = codes("place_order", {"order": {**order, "price": "10.001"}}, {"order": {**keyed, "price": 11}})
    assert refused == ["invalid_request", "idempotency_key_reused"]
    amends = [{"order_id": order_id, "trigger_price": 1}, {"order_id": UNKNOWN_ID, "price": 1}]
    assert codes("amend_order", *amends) == ["amend_refused", "order_not_found"]
    assert checked.ask("amend_orders", amends=amends)["results"][0]["error"]["reason"] == "not_applicable"
    client.cancel(order_id)
    assert codes("cancel_order", {"order_id": order_id}) == ["order_not_open"]
    bids = [{**order, "price": 1}] * 100
    answered: set[str] = set()
    while "rate_limited" not in answered:  # More orders than may be on their way.
        answered = checked.ask_at_once("place_orders", [{"orders": bids}] * 4)


@ON_UVICORN
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[", "invalid_json"),
        ('{"type":"ping","type":"ping"}', "invalid_json"),
        ('{"type":"pong","id":[1,{"a":null}]}', "invalid_message"),
        ('{"type":"ping","id":1,"time":2}', "invalid_message"),
        ('{"type":"subscribe","channels":["quote"]}', "invalid_message"),
        ('{"type":"subscribe","channels":["trades"],"throttle_ms":-1}', "invalid_message"),
        ('{"type":"place_order","order":{}}', "invalid_message"),
        ('{"type":"subscribe","channels":["trades"],"instrument":"NO-USD"}', "instrument_not_found"),
    ],
)
def test_every_error_conforms_to_the_document(
    checked: CheckedStream, described: Described, text: str, code: str
) -> None:
    checked.send(text)
    assert checked.receive()["code"] == code
    if code == "invalid_message":  # The document does not allow such a message, either.
        message = json.loads(text)
        kind = message["type"]
        assert kind not in described.names("receive") or not described.conforms(kind, message)


# --- the document itself ----------------------------------------------------------------------------


def references(part: Any) -> Iterator[str]:
    """Return all references in a part of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_the_document_is_whole() -> None:
    """Its references resolve, its schemas are valid, and its examples conform to them.

    It has the parts that AsyncAPI 3.0 requires: every message of an operation is one of its channel.
    """
    document = stream_document()
    assert document.keys() == {
        *("asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components")
    }
    assert document["info"].keys() >= {"title", "version"}
    for reference in references(document):
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    described = Described(document)
    for operation in described.operations.values():
        assert operation["action"] in ("send", "receive")
        for place in (operation, operation.get("reply", operation)):
            prefix = f"{place['channel']['$ref']}/messages/"
            assert place["messages"]
            assert all(message["$ref"].startswith(prefix) for message in place["messages"])
    for schema in document["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)
    for name, message in described.messages.items():
        Draft7Validator.check_schema(message["payload"])
        for example in message.get("examples", ()):
            if example["payload"].get("channels") != ["quote"]:  # Its answer is an error.
                described.check(name, example["payload"])
