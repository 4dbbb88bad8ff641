"""cancel_on_disconnect on /stream: however a connection ends, the client's orders end with it."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.client import ANSWER_SECONDS_MAX, Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.stream import UPGRADE_REQUEST, Stream, frame, reset_connection
from tests.contract.test_stream_entry import ask, limit
from tests.system.exchange import RunningExchange, wait_until

PING = b"\x89\x00"  # the server's ping frame
CLOSE = b"\x88"  # the first byte of a close frame


def guard(stream: Stream, client_id: str, *, enabled: bool = True) -> None:
    """Arm or disarm the connection's guard for a client."""
    result = ask(stream, "cancel_on_disconnect", client_id=client_id, enabled=enabled)
    assert result == {"status": 200, "client_id": client_id, "enabled": enabled}


def place(stream: Stream, instrument: str, client_id: str, **more: Any) -> str:
    """Place a resting order over the stream, and return its id."""
    result = ask(stream, "place_order", order=limit(instrument, "buy", 10, client_id=client_id) | more)
    assert result["status"] == 201, result
    return str(result["order"]["order_id"])


def state(client: Client, order_id: str) -> tuple[str, str | None]:
    order = client.get(f"/orders/{order_id}").json
    return order["status"], order["reason"]


def await_disconnected(client: Client, *order_ids: str) -> None:
    for order_id in order_ids:
        wait_until(
            lambda order_id=order_id: state(client, order_id) == ("cancelled", "disconnected"),  # type: ignore[misc]
            f"order {order_id} ended with the connection",
        )


def test_all_orders_of_the_client_end_with_the_connection(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    over_rest = client.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"]
    waiting = {"type": "stop", "trigger_price": 20, "price": None}
    others = client.place(instrument, "buy", 1, 10)["order_id"]
    with Stream(exchange.ws_url) as follower, Stream(exchange.ws_url) as stream:
        follower.subscribe("orders", instrument=instrument, client_id=client_id)
        follower.expect("orders_snapshot")
        guard(stream, client_id)
        own = [place(stream, instrument, client_id), place(stream, instrument, client_id, **waiting)]
        follower.expect("order_update", "order_update")
        stream.close()
        updates = follower.expect(*["order_update"] * 3)
        assert {update["reason"] for update in updates} == {"disconnected"}
    await_disconnected(client, over_rest, *own)
    assert state(client, others) == ("open", None)


def test_orders_may_follow_the_arming_at_once(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    with Stream(exchange.ws_url) as stream:
        stream.send({"type": "cancel_on_disconnect", "id": 1, "client_id": client_id, "enabled": True})
        stream.send(
            {"type": "place_order", "id": 2, "order": limit(instrument, "buy", 10, client_id=client_id)}
        )
        results = {result["id"]: result for result in stream.expect("result", "result")}
    assert (results[1]["status"], results[2]["status"]) == (200, 201)
    await_disconnected(client, results[2]["order"]["order_id"])


def test_a_client_that_is_not_guarded_any_more_keeps_its_orders(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    other = f"{client_id}-guarded"
    with Stream(exchange.ws_url) as stream:
        guard(stream, client_id, enabled=False)  # harmless
        for each in (client_id, client_id, other):
            guard(stream, each)
        kept, guarded = place(stream, instrument, client_id), place(stream, instrument, other)
        guard(stream, client_id, enabled=False)
        late = place(stream, instrument, client_id)
    await_disconnected(client, guarded)  # one command has ended the guard of both
    assert state(client, kept) == state(client, late) == ("open", None)


@ON_UVICORN
def test_each_connection_of_a_client_has_a_guard_of_its_own(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    with Stream(exchange.ws_url) as first, Stream(exchange.ws_url) as second:
        guard(first, client_id)
        guard(second, client_id)
        before = place(second, instrument, client_id)
        first.close()
        await_disconnected(client, before)  # all of the client's orders
        after = place(second, instrument, client_id)
        assert state(client, after) == ("open", None)
    await_disconnected(client, after)


FLOOD: list[object] = [{"type": "ping", "id": number} for number in range(60)]
TOO_LARGE: list[object] = ["x" * (64 * 1024 + 1)]


@pytest.mark.parametrize("offence", [FLOOD, TOO_LARGE], ids=["flood", "too large"])
def test_orders_end_if_the_server_closes_the_connection(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str, offence: list[object]
) -> None:
    with Stream(exchange.ws_url) as stream:
        guard(stream, client_id)
        order_id = place(stream, instrument, client_id)
        stream.send_together(offence)
        assert stream.close_code() is not None
        await_disconnected(client, order_id)


class SilentStream:
    """A connection whose client reads, but never answers a ping."""

    def __init__(self, exchange: RunningExchange) -> None:
        self.socket = socket.create_connection(("127.0.0.1", exchange.port), ANSWER_SECONDS_MAX)
        self.received = b""
        self.socket.sendall(UPGRADE_REQUEST)
        self.read_until(lambda received: b"\r\n\r\n" in received)

    def read_until(self, is_complete: Callable[[bytes], bool]) -> None:
        """Read until what was received since the last request is complete."""
        while not is_complete(self.received):
            data = self.socket.recv(65_536)
            assert data, self.received
            self.received += data

    def ask(self, message: dict[str, Any]) -> None:
        """Send a request, and wait for its result."""
        self.received = b""
        self.socket.sendall(frame({"id": 1, **message}))
        self.read_until(lambda received: b'"result"' in received)

    def place_guarded(self, instrument: str, client_id: str) -> None:
        self.ask({"type": "cancel_on_disconnect", "client_id": client_id, "enabled": True})
        self.ask({"type": "place_order", "order": limit(instrument, "buy", 10, client_id=client_id)})
        assert b'"status":201' in self.received, self.received


def only_order(client: Client, client_id: str) -> str:
    (order,) = client.get("/orders", client_id=client_id).json["orders"]
    return str(order["order_id"])


def test_orders_end_if_the_connection_is_reset(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    connection = SilentStream(exchange)
    connection.place_guarded(instrument, client_id)
    reset_connection(connection.socket)
    await_disconnected(client, only_order(client, client_id))


@ON_UVICORN
def test_orders_end_if_the_client_answers_no_ping(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    """So it is with a client that is frozen, or gone without a word: the server can't tell."""
    connection = SilentStream(exchange)
    connection.place_guarded(instrument, client_id)
    connection.read_until(lambda received: PING in received)
    assert state(client, only_order(client, client_id)) == ("open", None)
    await_disconnected(client, only_order(client, client_id))
    connection.read_until(lambda received: b'"silent"' in received and CLOSE in received)
    connection.socket.close()


@ON_UVICORN
def test_a_client_that_answers_pings_keeps_its_orders(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    silent_client = f"{client_id}-silent"
    with Stream(exchange.ws_url) as stream:
        guard(stream, client_id)
        order_id = place(stream, instrument, client_id)
        silent = SilentStream(exchange)
        silent.place_guarded(instrument, silent_client)
        await_disconnected(client, only_order(client, silent_client))
        silent.socket.close()
        assert state(client, order_id) == ("open", None)
        stream.ping("still connected")
    await_disconnected(client, order_id)


@ON_UVICORN
@pytest.mark.parametrize(
    ("fields", "invalid"),
    [
        ({"client_id": "client-A"}, {"enabled"}),
        ({"enabled": True}, {"client_id"}),
        ({"client_id": "client-A", "enabled": "yes"}, {"enabled"}),
        ({"client_id": "client-A", "enabled": True, "after": 1}, {"after"}),
    ],
)
def test_an_invalid_request_names_its_fields(
    stream: Stream, fields: dict[str, Any], invalid: set[str]
) -> None:
    result = ask(stream, "cancel_on_disconnect", **fields)
    assert (result["status"], result["error"]["code"]) == (400, "invalid_request")
    assert result["error"]["fields"].keys() == invalid


@ON_UVICORN
def test_a_connection_guards_at_most_ten_clients(stream: Stream, client_id: str) -> None:
    for number in range(10):
        guard(stream, f"{client_id}-{number}")
    result = ask(stream, "cancel_on_disconnect", client_id=client_id, enabled=True)
    assert result["error"]["fields"].keys() == {"client_id"}
