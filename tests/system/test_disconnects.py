"""cancel_on_disconnect while processes are killed, frozen and stopped, on a real exchange.

The times of the promise are measured by `python -m chaos.disconnects`. Here a slow machine may take
longer.
"""

import contextlib
import itertools
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

import psutil
import psycopg
import pytest
from django.conf import settings
from redis import Redis

from hosting.embedded.locations import Locations
from orders.messages import life_key
from tests.contract.client import Client, order_body
from tests.contract.stream import Stream
from tests.contract.test_stream_entry import ask, limit
from tests.contract.test_stream_guards import guard
from tests.system.exchange import RunningExchange, frozen, is_gone, wait_until

INSTRUMENT = "BTC-USD"
PARTITION = 0
DISCONNECTED = ("cancelled", "disconnected")
OPEN = ("open", None)
SIGNS_TO_SILENCE = 1 + round(settings.GUARD_SILENT_SECONDS_MAX / settings.GUARD_RENEW_SECONDS)
NO_SIGN_OF_LIFE = "shows no sign of life"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange() as running:
        yield running


@pytest.fixture
def database(exchange: RunningExchange) -> Iterator[psycopg.Connection[Any]]:
    """The exchange's database, which can be read while API processes are away."""
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri, autocommit=True) as connection:
        yield connection


@pytest.fixture
def redis(exchange: RunningExchange) -> Iterator[Redis]:
    with Redis.from_url(Locations(exchange.data_dir).redis_url) as client:
        yield client


@pytest.fixture
def client_id() -> str:
    return f"trader-{next(_numbers)}"


@pytest.fixture
def stream(exchange: RunningExchange, client_id: str) -> Iterator[Stream]:
    """A connection with a guard, and an order that rests."""
    wait_until(lambda: _accepts_orders(exchange), "the exchange takes orders")
    # No keepalive of the client's own: it must stay connected to a frozen server.
    with Stream(exchange.ws_url, ping_interval=None) as stream:
        guard(stream, client_id)
        assert place(stream, client_id)["status"] == 201
        yield stream


def _accepts_orders(exchange: RunningExchange) -> bool:
    order = order_body(INSTRUMENT, "buy", 1, 1, idempotency_key=f"probe-{next(_numbers)}")
    with Client(exchange.url) as client, contextlib.suppress(OSError, HTTPException):
        return client.post("/orders", order).status == 201
    return False


def place(stream: Stream, client_id: str, **more: Any) -> Any:
    return ask(stream, "place_order", order=limit(INSTRUMENT, "buy", 5, client_id=client_id, **more))


def states(database: psycopg.Connection[Any], client_id: str) -> list[tuple[str, str | None]]:
    """Return status and reason of the client's orders, oldest first."""
    sql = "SELECT status, reason FROM orders_order WHERE client_id = %s ORDER BY order_id"
    return database.execute(sql, [client_id]).fetchall()


def await_states(
    database: psycopg.Connection[Any], client_id: str, *expected: tuple[str, str | None]
) -> None:
    wait_until(lambda: states(database, client_id) == list(expected), f"the orders are {expected}")


def guards(database: psycopg.Connection[Any]) -> list[Any]:
    return database.execute("SELECT process_id, client_ids FROM orders_connectionguard").fetchall()


def api(exchange: RunningExchange) -> psutil.Process:
    return exchange.part("uvicorn_server")


def test_orders_end_if_the_api_process_is_killed(
    exchange: RunningExchange, database: psycopg.Connection[Any], stream: Stream, client_id: str
) -> None:
    api(exchange).kill()
    await_states(database, client_id, DISCONNECTED)
    assert guards(database) == []
    assert NO_SIGN_OF_LIFE in exchange.log()


def test_nothing_of_a_dead_connection_is_taken_when_its_process_thaws(
    exchange: RunningExchange, database: psycopg.Connection[Any], stream: Stream, client_id: str
) -> None:
    """The frozen process has orders in its hands, which it reads and sends when it thaws."""
    late: list[tuple[str, dict[str, Any]]] = [
        ("place_order", {"order": limit(INSTRUMENT, "buy", 5, client_id=client_id, idempotency_key="late")}),
        ("place_orders", {"orders": [limit(INSTRUMENT, "buy", 5, client_id=client_id)] * 2}),
        ("cancel_orders", {"client_id": client_id}),
        ("cancel_on_disconnect", {"client_id": client_id, "enabled": True}),
        ("place_order", {"order": limit(INSTRUMENT, "buy", 5, client_id=client_id)}),
    ]
    with frozen(api(exchange)):
        for number, (kind, fields) in enumerate(late):
            stream.send({"type": kind, "id": number, **fields})
        await_states(database, client_id, DISCONNECTED)
        assert guards(database) == []
    answers = stream.receive_until(lambda message: message["type"] == "error")
    for result in answers[:-1]:
        errors = [result, *result.get("results", [])]
        assert {error["error"]["code"] for error in errors if "error" in error} == {"unavailable"}, result
        assert "order" not in result
    assert answers[-1]["code"] == "disconnected"
    assert stream.close_code() == 1013
    with Stream(exchange.ws_url) as new:
        guard(new, client_id)
        # The refused order did not use up its key, so this is a new order.
        assert place(new, client_id, idempotency_key="late")["status"] == 201
        assert states(database, client_id) == [DISCONNECTED, OPEN]
    await_states(database, client_id, DISCONNECTED, DISCONNECTED)


def test_no_time_runs_while_redis_is_away(
    exchange: RunningExchange,
    database: psycopg.Connection[Any],
    redis: Redis,
    stream: Stream,
    client_id: str,
) -> None:
    """The stream says `stale` after 5 s without Redis, which is longer than guards would last."""
    stream.subscribe("orderbook_deltas", instrument=INSTRUMENT)
    stream.expect("orderbook_snapshot")  # From now on, the book can become stale.
    with frozen(exchange.part("valkey-server")):
        assert stream.receive()["code"] == "stale"
    ((process_id, _),) = guards(database)
    key = life_key(PARTITION, process_id)
    signs: set[Any] = set()

    def see_signs() -> bool:
        signs.add(redis.get(key))
        return len(signs) > SIGNS_TO_SILENCE

    wait_until(see_signs, "signs of life were shown for longer than guards last without them")
    assert states(database, client_id) == [OPEN]
    wait_until(lambda: _placed(stream, client_id), "the connection takes orders again")
    stream.close()
    await_states(database, client_id, DISCONNECTED, DISCONNECTED)


def _placed(stream: Stream, client_id: str) -> bool:
    """Place an order. While Redis is not back, it is refused."""
    order = limit(INSTRUMENT, "buy", 5, client_id=client_id, idempotency_key="after Redis")
    stream.send({"type": "place_order", "id": 1, "order": order})
    *_, result = stream.receive_until(lambda message: message["type"] == "result")
    return bool(result["status"] in (200, 201))


def test_a_process_that_dies_with_the_worker_is_noticed_by_the_next_worker(
    exchange: RunningExchange, database: psycopg.Connection[Any], stream: Stream, client_id: str
) -> None:
    for process in (exchange.part("run_matching"), api(exchange)):
        process.kill()
    await_states(database, client_id, DISCONNECTED)


def test_a_connection_that_ends_without_a_worker_is_ended_by_the_next_one(
    exchange: RunningExchange, database: psycopg.Connection[Any], stream: Stream, client_id: str
) -> None:
    ended_by_silence = exchange.log().count(NO_SIGN_OF_LIFE)
    with frozen(exchange.part("run_matching")):
        stream.close()
    await_states(database, client_id, DISCONNECTED)
    assert exchange.log().count(NO_SIGN_OF_LIFE) == ended_by_silence


def test_a_server_that_stops_ends_the_guards_of_its_connections(
    exchange: RunningExchange, database: psycopg.Connection[Any], stream: Stream, client_id: str
) -> None:
    ended_by_silence = exchange.log().count(NO_SIGN_OF_LIFE)
    process = api(exchange)
    process.terminate()
    assert stream.close_code() == 1012
    await_states(database, client_id, DISCONNECTED)
    wait_until(lambda: is_gone(process), "the API process has stopped")
    assert exchange.log().count(NO_SIGN_OF_LIFE) == ended_by_silence
    assert guards(database) == []
