"""Idempotency keys: requests with one key place one order.

This holds for requests at the same moment, in several API processes, and after the loss of the worker
or of the data in Redis.
"""

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.contract.client import Answer, Client, check_order, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.crowd import Crowd
from tests.contract.instructed import later, place_for_a_moment
from tests.contract.market import Market
from tests.system.exchange import RunningExchange, wait_until

CLIENTS = 50
ROUNDS = 10

_key_numbers = itertools.count(1)


@pytest.fixture
def key() -> str:
    """A key that no test has used."""
    return f"key {next(_key_numbers)} / ü"


CROWDS_MAX = 20


def check_one_order(answers: list[Answer]) -> str:
    """Return the id of the one order that all answers show.

    Fail unless one answer is 201, the other answers are 200, and only these are marked as replays.
    """
    assert Counter(answer.status for answer in answers) == {201: 1, 200: len(answers) - 1}
    for answer in answers:
        assert answer.headers["Idempotency-Replayed"] == ("true" if answer.status == 200 else None)
    (order_id,) = {check_order(answer.json)["order_id"] for answer in answers}
    return str(order_id)


def check_races(exchange: RunningExchange, client: Client, instrument: str, crowd: Crowd) -> None:
    """In each round, let all clients send one order with one key. Fail unless one order is placed."""
    for number in range(1, ROUNDS + 1):
        body = order_body(
            instrument, "buy", 1, 10, client_id="racer", idempotency_key=f"{instrument} {number}"
        )
        order_id = check_one_order(crowd.post([body] * CLIENTS))
        assert client.order(order_id)["status"] == "open"
        assert client.levels(instrument) == ([(10, number, number)], [])


def test_one_of_fifty_equal_requests_at_once_places_the_order(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    with Crowd(exchange.url, CLIENTS) as crowd:
        check_races(exchange, client, instrument, crowd)


def test_one_of_two_orders_with_the_same_key_at_once_is_refused(
    exchange: RunningExchange, client: Client, instrument: str, key: str
) -> None:
    bodies = [order_body(instrument, "buy", 1, 10 + n % 2, idempotency_key=key) for n in range(CLIENTS)]
    with Crowd(exchange.url, CLIENTS) as crowd:
        answers = crowd.post(bodies)
    statuses = Counter(answer.status for answer in answers)
    assert statuses == {201: 1, 200: CLIENTS // 2 - 1, 422: CLIENTS // 2}
    for answer in answers:
        if answer.status == 422:
            answer.error(422, "idempotency_key_reused")
    assert client.book(instrument)["sequence"] == 1


def test_a_repeated_request_gets_the_order_as_it_is_now(client: Client, instrument: str, key: str) -> None:
    body = order_body(instrument, "buy", 2, 10, idempotency_key=key)
    first = client.post("/orders", body)
    assert (first.status, first.headers["Idempotency-Replayed"]) == (201, None)
    client.place(instrument, "sell", 1, 10)
    again = client.post("/orders", body)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json == client.order(first.json["order_id"])
    assert (again.json["status"], len(again.json["trades"])) == ("partially_filled", 1)
    client.cancel(first.json["order_id"])
    assert client.post("/orders", body).json["status"] == "cancelled"
    assert client.levels(instrument) == ([], [])


def test_a_repeated_request_may_write_the_same_order_in_another_way(
    client: Client, instrument: str, key: str
) -> None:
    first = client.place(instrument, "buy", 1, 10.5, idempotency_key=key)
    header = {"Idempotency-Key": key.encode().decode("latin-1")}  # sent as the key's UTF-8 bytes
    again = client.post("/orders", order_body(instrument, "buy", "1.000", "10.50"), header)
    assert (again.status, again.json) == (200, first)


# An order that waits, with all instructions. None of its changes below makes it invalid.
STOP: dict[str, Any] = {
    "type": "stop_limit",
    "trigger_price": 20,
    "time_in_force": "gtd",
    "expires_at": later(days=30),
    "post_only": True,
    "self_trade_prevention": "cancel_maker",
}


@pytest.mark.parametrize(
    ("instructions", "change"),
    [
        ({}, {"price": 11}),
        ({}, {"quantity": 2}),
        ({}, {"side": "sell"}),
        ({}, {"type": "market", "price": None}),
        ({}, {"instrument": "BTC-USD"}),
        ({}, {"time_in_force": "ioc"}),
        ({}, {"post_only": True}),
        ({}, {"self_trade_prevention": "decrement"}),
        ({}, STOP),
        (STOP, {"type": "take_profit_limit"}),
        (STOP, {"trigger_price": 21}),
        (STOP, {"expires_at": later(days=31)}),
        (STOP, {"time_in_force": "gtc", "expires_at": None}),
        (STOP, {"post_only": False}),
        (STOP, {"self_trade_prevention": "none"}),
        (STOP, {"self_trade_prevention": None}),
        (STOP, {"type": "limit", "trigger_price": None}),
    ],
)
def test_another_order_with_the_same_key_is_refused(
    client: Client, instrument: str, key: str, instructions: dict[str, Any], change: dict[str, Any]
) -> None:
    body = order_body(instrument, "buy", 1, 10, idempotency_key=key) | instructions
    assert client.post("/orders", body).status == 201
    client.post("/orders", body | change).error(422, "idempotency_key_reused")
    (result,) = client.post("/orders/batch", {"orders": [body | change]}).json["results"]
    assert (result["status"], result["error"]["code"]) == (422, "idempotency_key_reused")
    assert client.book(instrument)["sequence"] == 1


@ON_UVICORN
@pytest.mark.parametrize(
    ("instructions", "restated"),
    [
        ({}, {"time_in_force": "gtc", "post_only": False, "self_trade_prevention": "none"}),
        ({}, {"trigger_price": None, "expires_at": None, "post_only": None, "time_in_force": None}),
        ({"type": "market", "price": None}, {"time_in_force": "ioc"}),
        (STOP, {"trigger_price": "20.00", "expires_at": STOP["expires_at"].replace("Z", "000+00:00")}),
    ],
)
def test_a_repeated_request_may_state_or_leave_out_defaults(
    client: Client, instrument: str, key: str, instructions: dict[str, Any], restated: dict[str, Any]
) -> None:
    body = order_body(instrument, "buy", 1, 10, idempotency_key=key) | instructions
    first = client.post("/orders", body)
    again = client.post("/orders", body | restated)
    assert (first.status, again.status, again.json) == (201, 200, first.json)
    (result,) = client.post("/orders/batch", {"orders": [body | restated]}).json["results"]
    assert result == {"status": 200, "replayed": True, "order": first.json}


@ON_UVICORN
def test_later_amends_and_times_do_not_make_it_another_order(
    client: Client, instrument: str, key: str
) -> None:
    body = order_body(instrument, "buy", 2, 10, idempotency_key=key)
    first = place_for_a_moment(client, body)
    body |= {name: first[name] for name in ("time_in_force", "expires_at")}
    path = f"/orders/{first['order_id']}/amend"
    was_amended = client.post(path, {"quantity": 1, "price": 9}).status == 200  # or it has expired
    wait_until(lambda: client.order(first["order_id"])["status"] == "cancelled", "the order expires")
    again = client.post("/orders", body)  # a new order with this time would be refused
    assert (again.status, again.json) == (200, client.order(first["order_id"]))
    assert (again.json["reason"], again.json["quantity"]) == ("expired", 1 if was_amended else 2)
    client.post("/orders", body | {"price": 9, "quantity": 1}).error(422, "idempotency_key_reused")
    client.post("/orders", body | {"idempotency_key": f"{key} 2"}).error(400, "invalid_request")


@ON_UVICORN
def test_a_new_default_does_not_make_it_another_order(
    client: Client, market: Market, instrument: str, key: str
) -> None:
    body = order_body(instrument, "buy", 1, 10, idempotency_key=key)
    first = client.post("/orders", body).json
    market.set_bounds(instrument, self_trade_prevention="cancel_both")
    for restated in ({}, {"self_trade_prevention": "none"}):
        again = client.post("/orders", body | restated)
        assert (again.status, again.json) == (200, first)
    other = client.post("/orders", body | {"self_trade_prevention": "cancel_both"})
    other.error(422, "idempotency_key_reused")


def test_clients_do_not_share_keys(client: Client, instrument: str, key: str) -> None:
    ids = {
        client.place(instrument, "buy", 1, 10, client_id=f"owner-{number}", idempotency_key=key)["order_id"]
        for number in range(5)
    }
    assert len(ids) == 5


def test_a_repeated_market_order_is_not_matched_again(client: Client, instrument: str, key: str) -> None:
    first = client.place(instrument, "buy", 1, idempotency_key=key)
    assert first["status"] == "cancelled"
    client.place(instrument, "sell", 1, 10)
    again = client.post("/orders", order_body(instrument, "buy", 1, idempotency_key=key))
    assert (again.status, again.json) == (200, first)


def test_a_refused_request_does_not_use_up_its_key(client: Client, instrument: str, key: str) -> None:
    body = order_body(instrument, "buy", 1, 10, idempotency_key=key)
    assert client.post("/orders", body | {"price": "10.001"}).status == 400
    assert client.post("/orders", body).status == 201


def test_a_rejected_order_is_found_by_its_key_during_and_after_the_halt(
    client: Client, market: Market, instrument: str
) -> None:
    body = order_body(instrument, "buy", 1, 10)
    rejected: Any = None

    def reject_one() -> bool:
        """Place an order during a halt. Return whether it reached the worker.

        If the API learns of the halt first, it refuses the order. Another attempt needs another key.
        """
        nonlocal rejected
        body["idempotency_key"] = f"rejected {next(_key_numbers)}"
        market.set_status(instrument, "active")
        wait_until(lambda: market.is_seen_by_api(instrument, "active"), "the API accepts orders")
        market.set_status(instrument, "halted")
        market.reload_worker()
        answer = client.post("/orders", body)
        rejected = answer.json if answer.status == 201 and answer.json["status"] == "rejected" else None
        return rejected is not None

    wait_until(reject_one, "an order reached the worker during the halt")
    for status in ("halted", "active"):
        market.set_status(instrument, status)
        market.reload_worker()
        wait_until(functools.partial(market.is_seen_by_api, instrument, status), f"the API shows {status}")
        again = client.post("/orders", body)
        assert (again.status, again.json) == (200, rejected)


def test_an_order_beyond_new_limits_is_found_by_its_key(
    client: Client, market: Market, instrument: str, key: str
) -> None:
    body = order_body(instrument, "buy", 10, 3, idempotency_key=key)
    placed = client.post("/orders", body)
    market.set_quantity_max(instrument, 5)
    wait_until(
        lambda: client.post("/orders", body | {"idempotency_key": None}).status == 400,
        "the API knows the limit",
    )
    again = client.post("/orders", body)
    assert (again.status, again.json) == (200, placed.json)
    client.post("/orders", body | {"quantity": 9}).error(422, "idempotency_key_reused")
    client.post("/orders", body | {"idempotency_key": f"{key} 2"}).error(400, "invalid_request")


@pytest.fixture(scope="module")
def two_processes() -> Iterator[RunningExchange]:
    """An exchange with two API processes, whose worker and data in Redis these tests remove."""
    with RunningExchange(variables={"EXCHANGE_API_PROCESSES": "2"}) as running:
        yield running


@pytest.fixture(scope="module")
def client_of_two_processes(two_processes: RunningExchange) -> Iterator[Client]:
    with Client(two_processes.url) as connected:
        yield connected


def test_a_key_holds_across_api_processes(
    two_processes: RunningExchange, client_of_two_processes: Client
) -> None:
    with crowd_on_both_processes(two_processes) as crowd:
        check_races(two_processes, client_of_two_processes, "BTC-USD", crowd)
        assert len(serving_processes(two_processes)) == 2


@contextlib.contextmanager
def crowd_on_both_processes(exchange: RunningExchange) -> Iterator[Crowd]:
    """Connect crowds until one is served by both API processes. The system chooses the process."""
    for _ in range(CROWDS_MAX):
        with Crowd(exchange.url, CLIENTS) as crowd:
            crowd.connect_all()
            if len(serving_processes(exchange)) == 2:
                yield crowd
                return
    raise AssertionError(f"one API process took all connections of {CROWDS_MAX} crowds")


def serving_processes(exchange: RunningExchange) -> set[int]:
    """Return the ids of the processes to which clients are connected."""
    serving: set[int] = set()
    for process in exchange.processes():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.laddr.port == exchange.port and connection.status == psutil.CONN_ESTABLISHED:
                    serving.add(process.pid)
    return serving


def test_a_key_holds_across_a_restart_of_the_worker(
    two_processes: RunningExchange, client_of_two_processes: Client, key: str
) -> None:
    body = order_body("ETH-USD", "buy", 1, 10, idempotency_key=key)
    order = client_of_two_processes.post("/orders", body).json
    killed = two_processes.worker_pid()
    psutil.Process(killed).kill()
    again = client_of_two_processes.post("/orders", body)
    assert (again.status, again.json) == (200, order)  # found in the database, without a worker
    wait_until(lambda: accepts_orders(client_of_two_processes), "orders are accepted again")
    assert two_processes.worker_pid() != killed
    with Crowd(two_processes.url, CLIENTS) as crowd:
        answers = crowd.post([body] * CLIENTS)
    assert [(answer.status, answer.json) for answer in answers] == [(200, order)] * CLIENTS
    client_of_two_processes.post("/orders", body | {"quantity": 2}).error(422, "idempotency_key_reused")
    assert client_of_two_processes.levels("ETH-USD") == ([(10, 1, 1)], [])


def test_a_key_holds_after_redis_has_lost_everything(
    two_processes: RunningExchange, client_of_two_processes: Client, key: str
) -> None:
    body = order_body("SOL-USD", "buy", 1, 10, idempotency_key=key)
    order = client_of_two_processes.post("/orders", body).json
    operator = Market(two_processes)
    try:
        operator.redis.flushall()
    finally:
        operator.close()
    again = client_of_two_processes.post("/orders", body)
    assert (again.status, again.json) == (200, order)
    wait_until(lambda: accepts_orders(client_of_two_processes), "orders are accepted again")
    with Crowd(two_processes.url, CLIENTS) as crowd:
        answers = crowd.post([body] * CLIENTS)
    assert [(answer.status, answer.json) for answer in answers] == [(200, order)] * CLIENTS
    assert client_of_two_processes.levels("SOL-USD") == ([(10, 1, 1)], [])


def accepts_orders(client: Client) -> bool:
    """Return whether a market order is answered with 201.

    The answer is 504 if the order was in the queue when the worker was killed.
    """
    answer = client.post("/orders", order_body("SOL-USD", "buy", "0.000001"))
    assert answer.status in (201, 503, 504), answer.text
    return answer.status == 201
