"""Outages of PostgreSQL and Redis: they are killed, frozen, out of memory, locked or read-only.

During an outage, an order is answered with 503 or 504. The answer comes before clients give up, because
the exchange's time limits add up to less than that. Afterwards the exchange recovers by itself, nothing
is lost, and every key that was used has exactly one order.
"""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from django.conf import settings
from redis import Redis

from hosting.embedded.locations import Locations
from hosting.embedded.postgres import SUPERUSER
from orders.desk import CANCEL_SECONDS_MAX
from orders.messages import heartbeat_key, stream_key
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange, frozen, wait_until

CLIENTS_WAIT_SECONDS = 5.0
ANSWER_SECONDS_MAX = PATIENCE_SECONDS  # long enough for a slow machine
BOOKS_FROM = {"database": "books are read from the database", "mirror": "books are read from Redis again"}
READS = (
    "/orderbook",
    "/orderbook?levels=1",
    "/orders",
    "/fills?client_id=alice",
    "/trades",
    "/trades?start=2026-01-01&sort=asc",
    "/ticker",
    "/tickers",
    "/trades/stats",
    "/candles",
    "/instruments",
)


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange() as running:
        yield running


@pytest.fixture(scope="module")
def http(exchange: RunningExchange) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=exchange.url, timeout=ANSWER_SECONDS_MAX) as client:
        yield client


@pytest.fixture
def redis(exchange: RunningExchange) -> Iterator[Redis]:
    with Redis.from_url(Locations(exchange.data_dir).redis_url) as client:
        yield client


def place(http: httpx.Client, key: str) -> httpx.Response:
    order = {"client_id": "outage", "instrument": "BTC-USD", "side": "buy", "type": "limit"}
    return http.post("/orders", json={**order, "price": 100, "quantity": 1, "idempotency_key": key})


def place_until_taken(http: httpx.Client, key: str) -> httpx.Response:
    """Place an order as a client should: send it again with its key while the answer is 503 or 504."""
    answers: list[httpx.Response] = []

    def is_accepted() -> bool:
        answers.append(place(http, key))
        return answers[-1].status_code not in (503, 504)

    wait_until(is_accepted, f"the order {key} is accepted")
    return answers[-1]


def is_healthy(http: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return http.get("/healthz").status_code == 200
    return False


def check_outage(
    exchange: RunningExchange,
    http: httpx.Client,
    outage: contextlib.AbstractContextManager[Any],
    name: str,
    *,
    reads: bool,
) -> None:
    """Check that orders are refused during the outage, and that afterwards each key has one order.

    `reads` says whether the exchange must answer reads during the outage.
    """
    keys = [f"{name}-{number}" for number in range(3)]
    assert place(http, keys[0]).status_code == 201
    with outage:
        wait_until(lambda: not is_healthy(http), f"{name} is noticed")
        answer = place(http, keys[1])  # within ANSWER_SECONDS_MAX, or httpx raises
        assert answer.status_code in (503, 504), answer.text
        assert answer.json()["error"]["code"] in ("unavailable", "outcome_unknown")
        assert answer.status_code == 504 or int(answer.headers["Retry-After"]) >= 1
        for path in READS if reads else ():
            assert http.get(path).status_code == 200, path
        if reads:
            assert place(http, keys[0]).status_code == 200  # the key's order is found
    exchange.await_health()
    ids = set()
    for key in keys:
        answers = [place_until_taken(http, key) for _ in range(2)]
        assert answers[0].status_code in (200, 201)
        assert answers[1].status_code == 200
        ids |= {answer.json()["order_id"] for answer in answers}
    assert len(ids) == len(keys)


def test_time_limits_end_before_clients_give_up() -> None:
    """An order waits for a newer copy of the instruments, for the worker's reply, and for a look-up."""
    order = (
        settings.INSTRUMENT_REFRESH_SECONDS
        + settings.ORDER_REPLY_TIMEOUT_SECONDS
        + settings.DESK_READ_SECONDS_MAX
    )
    assert order < CLIENTS_WAIT_SECONDS
    assert CANCEL_SECONDS_MAX < CLIENTS_WAIT_SECONDS
    assert settings.HEALTH_CHECK_TIMEOUT_SECONDS < CLIENTS_WAIT_SECONDS


def test_orders_are_refused_and_reads_answered_while_redis_is_frozen(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    """Only a change of the books' source is logged, however many books are read."""
    logged = {name: exchange.log().count(line) for name, line in BOOKS_FROM.items()}
    check_outage(exchange, http, frozen(exchange.part("valkey-server")), "redis frozen", reads=True)
    for _ in range(2):
        assert http.get("/orderbook").status_code == 200
    for name, line in BOOKS_FROM.items():
        assert exchange.log().count(line) == logged[name] + 1


def test_orders_are_refused_while_postgres_is_frozen(exchange: RunningExchange, http: httpx.Client) -> None:
    check_outage(exchange, http, frozen(exchange.part("bin/postgres")), "postgres frozen", reads=False)


@contextlib.contextmanager
def redis_setting(redis: Redis, name: str, value: str) -> Iterator[None]:
    before = str(redis.config_get(name)[name])
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, before)


def _resting_bids(http: httpx.Client) -> int:
    """Return how many bids the book has."""
    return sum(level["orders"] for level in http.get("/orderbook").json()["bids"])


def test_orders_are_refused_and_cancels_accepted_while_redis_is_out_of_memory(
    http: httpx.Client, redis: Redis
) -> None:
    """Cancels are accepted because they make room. The worker stays healthy, and reads are answered."""
    before = _resting_bids(http)
    resting = [place(http, f"resting {number}").json()["order_id"] for number in range(3)]
    with redis_setting(redis, "maxmemory", "1"):
        refused = place(http, "out of memory")
        assert refused.status_code == 503, refused.text
        assert refused.json()["error"]["code"] == "unavailable"
        cancelled = [http.post(f"/orders/{order_id}/cancel") for order_id in resting[:2]]
        started = time.monotonic()
        while time.monotonic() - started < 2 * settings.WORKER_HEARTBEAT_EXPIRY_SECONDS:
            assert redis.exists(heartbeat_key(0))
            for path in READS:
                assert http.get(path).status_code == 200, path
        cancelled.append(http.post(f"/orders/{resting[2]}/cancel"))
        assert [answer.status_code for answer in cancelled] == [200] * 3, cancelled
        assert {answer.json()["status"] for answer in cancelled} == {"cancelled"}
        assert _resting_bids(http) == before
        assert place(http, "out of memory").status_code == 503
    wait_until(lambda: place(http, "out of memory").status_code in (200, 201), "orders are accepted again")
    assert is_healthy(http)


def test_orders_are_found_by_key_while_redis_is_out_of_memory(
    exchange: RunningExchange, http: httpx.Client, redis: Redis
) -> None:
    """New orders are refused. Cancels are accepted, because they empty the books."""
    orders = [place(http, f"out of memory {number}").json() for number in range(3)]
    with redis_setting(redis, "maxmemory", "1"):
        redis.delete(heartbeat_key(0))
        wait_until(lambda: redis.exists(heartbeat_key(0)), "the worker sends its heartbeat")
        for number, order in enumerate(orders):
            answer = place(http, f"beyond memory {number}")
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) >= 1
            assert place(http, f"out of memory {number}").status_code == 200
            for path in READS:
                assert http.get(path).status_code == 200, path
            answer = http.post(f"/orders/{order['order_id']}/cancel")
            assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
            assert http.get(f"/orders/{order['order_id']}").json() == answer.json()
        exchange.await_health()
    for number in range(3):
        assert place(http, f"beyond memory {number}").status_code == 201


@contextlib.contextmanager
def read_only(redis: Redis) -> Iterator[None]:
    """Make Redis a read-only replica whose primary does not exist, as after a failover."""
    redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        redis.replicaof("NO", "ONE")


def test_orders_are_refused_while_redis_is_a_read_only_replica(
    exchange: RunningExchange, http: httpx.Client, redis: Redis
) -> None:
    check_outage(exchange, http, read_only(redis), "read-only replica", reads=True)


def test_no_order_is_lost_when_postgres_is_killed(exchange: RunningExchange, http: httpx.Client) -> None:
    """All its sessions are killed, too. `serve` starts it again."""
    assert place(http, "before the restart").status_code == 201
    top = exchange.part("bin/postgres")
    for process in (top, *top.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(
        lambda: place(http, "during the restart").status_code in (200, 201), "orders are accepted again"
    )
    assert place(http, "before the restart").status_code == 200
    assert place(http, "during the restart").status_code == 200
    place_until_taken(http, "after the restart")
    exchange.await_health()


def test_orders_are_answered_in_time_while_a_table_is_locked(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    """The first order waits for the lock and is committed once, when the lock is gone.

    It is answered with 504 before clients give up. The orders after it are refused, because the
    worker's heartbeat expires meanwhile.
    """
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as session:
        session.execute("LOCK TABLE orders_order IN SHARE ROW EXCLUSIVE MODE")
        assert place(http, "locked-0").status_code == 504
        wait_until(lambda: not is_healthy(http), "the locked table is noticed")
        assert {place(http, f"locked-{number}").status_code for number in range(1, 5)} == {503}
        assert http.get("/orders").status_code == 200
    exchange.await_health()
    assert [place(http, f"locked-{number}").status_code for number in range(5)] == [200, 201, 201, 201, 201]


def test_a_waiting_order_is_answered_when_the_api_process_is_told_to_stop(
    exchange: RunningExchange, http: httpx.Client, redis: Redis
) -> None:
    """The worker is frozen, so no reply can come, and the outcome is unknown."""
    assert place(http, "before the stop").status_code == 201
    with ThreadPoolExecutor(1) as thread, frozen(exchange.part("run_matching")):
        waiting = thread.submit(place, http, "during the stop")
        wait_until(lambda: redis.xlen(stream_key(0)), "the order is in the stream")
        exchange.part("uvicorn").terminate()
        answer = waiting.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "outcome_unknown")
    exchange.await_health()
    assert place(http, "during the stop").status_code == 200


@pytest.mark.parametrize("path", ["/orders/cancel", "/orders/amend"])
def test_an_order_that_is_on_its_way_is_found_by_its_key(
    exchange: RunningExchange, http: httpx.Client, redis: Redis, path: str
) -> None:
    """So a client that gave up waiting for an order can cancel or amend it."""
    order = {"client_id": "outage", "idempotency_key": f"on its way {path}"}
    body = order if path == "/orders/cancel" else {"amends": [{**order, "quantity": 0.5}]}
    assert place(http, f"before {path}").status_code == 201
    with ThreadPoolExecutor(2) as threads, frozen(exchange.part("run_matching")):
        redis.set(heartbeat_key(0), b"somebody")  # The last one could expire, and no other comes.
        placed = threads.submit(place, http, order["idempotency_key"])
        wait_until(lambda: redis.xlen(stream_key(0)) == 1, "the order is in the stream")
        changed = threads.submit(http.post, path, json=body)
        wait_until(lambda: redis.xlen(stream_key(0)) == 2, "the question for the order is behind it")
    answer = changed.result()
    assert (placed.result().status_code, answer.status_code) == (201, 200)
    if path == "/orders/cancel":
        assert answer.json()["cancelled"] == [placed.result().json()["order_id"]]
    else:
        assert answer.json()["results"][0]["order"]["quantity"] == 0.5


@contextlib.contextmanager
def no_more_connections(exchange: RunningExchange) -> Iterator[None]:
    """Let PostgreSQL refuse new sessions of the exchange, with error 53300 too_many_connections."""
    locations = Locations(exchange.data_dir)
    with psycopg.connect(locations.postgres_uri, user=SUPERUSER, autocommit=True) as operator:
        operator.execute("ALTER ROLE exchange CONNECTION LIMIT 0")
        try:
            yield
        finally:
            operator.execute("ALTER ROLE exchange CONNECTION LIMIT -1")


@pytest.mark.long
def test_connected_parts_work_on_while_postgres_refuses_connections(
    exchange: RunningExchange, http: httpx.Client
) -> None:
    """A worker that has to connect again waits until PostgreSQL accepts its connection."""
    assert place(http, "connected").status_code == 201
    with frozen(exchange.part("run_matching")):
        wait_until(lambda: place(http, "not matched").status_code == 503, "no worker matches")
        # This look-up of an earlier order opens the connection that later look-ups use.
        assert place(http, "connected").status_code == 200
    exchange.await_health()
    with no_more_connections(exchange):
        assert place(http, "still connected").status_code == 201
        psutil.Process(exchange.worker_pid()).kill()
        wait_until(lambda: place(http, "not connected").status_code == 503, "no worker matches")
        assert place(http, "connected").status_code == 200
    exchange.await_health()
    assert place(http, "not connected").status_code in (200, 201)
