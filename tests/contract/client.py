"""A simple HTTP client of the exchange. It keeps its connection and reads numbers exactly.

A client belongs to one thread. It sends paths and bodies byte for byte.
"""

import http.client
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from http.client import HTTPMessage
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from tests.patience import PATIENCE_SECONDS

ANSWER_SECONDS_MAX = PATIENCE_SECONDS
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
ORDER_FIELDS = {
    *("order_id", "client_id", "instrument", "side", "type", "price", "quantity", "filled_quantity"),
    *("remaining_quantity", "average_price", "status", "reason", "idempotency_key", "created_at"),
    *(
        "updated_at",
        "trades",
        "trades_complete",
        "time_in_force",
        "expires_at",
        "post_only",
        "self_trade_prevention",
    ),
    *("prevented_quantity", "trigger_price", "triggered_at"),
}
MARKET_TYPES = ("market", "stop", "take_profit")
FILL_FIELDS = {"trade_id", "price", "quantity", "side", "liquidity", "timestamp"}


def exact_json(text: str | bytes) -> Any:
    """Parse JSON. Numbers with a decimal point become Decimals."""
    return json.loads(text, parse_float=Decimal)


class Answer(NamedTuple):
    """A response of the exchange."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json", self
        return exact_json(self.body)

    def number(self, name: str) -> str:
        """Return the first number with that name as it is written in the answer."""
        found = re.search(rf'"{name}":(-?[0-9.eE+-]+)', self.text)
        assert found is not None, self.text
        return found[1]

    def error(self, status: int, code: str) -> dict[str, Any]:
        """Return the answer's error. Fail unless it has this status and code, and the common format."""
        assert self.status == status, (self.status, self.text)
        document = self.json
        assert document.keys() == {"error"}
        error: dict[str, Any] = document["error"]
        assert error["code"] == code, error
        assert isinstance(error["message"], str)
        assert error["message"]
        assert error.keys() <= {"code", "message", "fields", "reason"}
        assert ("reason" in error) == (code == "amend_refused")
        if "fields" in error:
            assert status == 400
            for messages in error["fields"].values():
                assert messages
                assert all(isinstance(message, str) for message in messages)
        return error

    def refused_fields(self) -> set[str]:
        """Return the names of the invalid fields. Fail unless this is a 400 with `invalid_request`."""
        return set(self.error(400, "invalid_request").get("fields", {}))


class Client:
    """Sends requests to an exchange, one at a time."""

    def __init__(self, url: str) -> None:
        host = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            str(host.hostname), host.port, timeout=ANSWER_SECONDS_MAX
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request. If the exchange has closed the kept connection meanwhile, connect again."""
        try:
            return self._send(method, path, body, headers or {})
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._connection.close()
            return self._send(method, path, body, headers or {})

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        self._connection.request(method, path, body, dict(headers))
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", path + ("?" + urlencode(query) if query else ""))

    def post(self, path: str, document: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a document as JSON, or bytes as they are. None sends no body."""
        if isinstance(document, bytes):
            body: bytes | None = document
        else:
            body = None if document is None else json.dumps(document).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json", **(headers or {})})

    def place(self, instrument: str, side: str, quantity: object, price: object = None, **more: Any) -> Any:
        """Place an order, which must be answered with 201. Without a price, it is a market order."""
        answer = self.post("/orders", order_body(instrument, side, quantity, price, **more))
        assert answer.status == 201, answer.text
        return check_order(answer.json)

    def cancel(self, order_id: str) -> Any:
        """Cancel an order, which must succeed, and return the order."""
        answer = self.post(f"/orders/{order_id}/cancel")
        assert answer.status == 200, answer.text
        return check_order(answer.json)

    def order(self, order_id: str) -> Any:
        answer = self.get(f"/orders/{order_id}")
        assert answer.status == 200, answer.text
        return check_order(answer.json)

    def book(self, instrument: str, levels: int = 1000) -> Any:
        answer = self.get("/orderbook", instrument=instrument, levels=levels)
        assert answer.status == 200, answer.text
        return answer.json

    def levels(self, instrument: str) -> tuple[list[tuple[Any, Any, int]], list[tuple[Any, Any, int]]]:
        """Return bids and asks as (price, quantity, orders), best first."""
        book = self.book(instrument)
        bids, asks = (
            [(level["price"], level["quantity"], level["orders"]) for level in book[side]]
            for side in ("bids", "asks")
        )
        return bids, asks


def order_body(
    instrument: str, side: str, quantity: object, price: object = None, **more: Any
) -> dict[str, Any]:
    """Return a body for POST /orders. Without a price, it is a market order."""
    body = {"client_id": "client-A", "instrument": instrument, "side": side, "quantity": quantity}
    body |= {"type": "market"} if price is None else {"type": "limit", "price": price}
    return body | more


def check_order(order: Any) -> Any:
    """Return the order. Fail unless it has all its fields and its quantities add up."""
    assert order.keys() == ORDER_FIELDS
    assert UUID(order["order_id"]).version == 7
    assert TIME.fullmatch(order["created_at"])
    assert TIME.fullmatch(order["updated_at"])
    assert order["created_at"] <= order["updated_at"]
    parts = ("filled_quantity", "prevented_quantity", "remaining_quantity")
    assert sum(order[part] for part in parts) == order["quantity"]
    assert (order["price"] is None) == (order["type"] in MARKET_TYPES)
    assert (order["average_price"] is None) == (order["filled_quantity"] == 0)
    for fill in order["trades"]:
        assert fill.keys() == FILL_FIELDS
        assert UUID(fill["trade_id"]).version == 7
        assert TIME.fullmatch(fill["timestamp"])
    shown = sum(fill["quantity"] for fill in order["trades"])
    assert (shown == order["filled_quantity"]) is order["trades_complete"]
    return order
