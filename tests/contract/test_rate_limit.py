"""A rate limit of 100 orders and 1,000 cancels an hour for each client."""

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import pytest

from tests.contract.client import Answer, Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.edge import CLOSE, send_and_listen
from tests.system.exchange import RunningExchange

LIMIT = 100
CANCEL_LIMIT = 10 * LIMIT
WINDOW_SECONDS = 3_600
CONNECTIONS = 20
UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"  # its hint names no instrument
ID_WITH_HINT = "01990000-0000-7000-8000-000000000001"  # its hint names the first instrument

_client_numbers = count(1)
# If all orders came at the begin of a window, one order's share of the next one is added.
RETRY_SECONDS_MAX = WINDOW_SECONDS + math.ceil(WINDOW_SECONDS / LIMIT)


@pytest.fixture
def limited(strict_exchange: RunningExchange) -> Iterator[Client]:
    with Client(strict_exchange.url) as connected:
        yield connected


@pytest.fixture
def newcomer() -> str:
    """The id of a client with its whole allowance."""
    return f"newcomer-{next(_client_numbers)}"


def place(client: Client, client_id: str, **more: object) -> Answer:
    return client.post("/orders", order_body("BTC-USD", "buy", 1, 10, client_id=client_id) | more)


def allowance(answer: Answer) -> tuple[int, int, int]:
    """Return the headers RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset."""
    limit, remaining, reset = (
        int(answer.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")
    )
    return limit, remaining, reset


def use_up_allowance(client: Client, client_id: str) -> None:
    """Place orders until one is refused.

    A new hour may begin meanwhile, so that a few more than LIMIT may be needed.
    """
    for _ in range(2 * LIMIT):
        answer = place(client, client_id)
        if answer.status == 429:
            return
        assert answer.status == 201
    raise AssertionError("the limit was never reached")


def use_up_cancels(port: int, client_id: str) -> None:
    """Cancel an unknown order on some connections at once, until a cancel is refused on all."""
    body = json.dumps({"client_id": client_id}).encode()
    head = (
        f"POST /orders/{UNKNOWN_ID}/cancel HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    )
    rest = b"Content-Length: %d\r\n\r\n" % len(body) + body
    sent = (head + rest) * (CANCEL_LIMIT // CONNECTIONS) + head + CLOSE + rest
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in range(4):
            received = list(pool.map(send_and_listen, [port] * CONNECTIONS, [sent] * CONNECTIONS))
            statuses = [[answer.status for answer in each.answers] for each in received]
            assert {status for each in statuses for status in each} <= {404, 429}
            if all(each[-1] == 429 for each in statuses):
                return
    raise AssertionError("the limit was never reached")


def test_every_answer_gives_the_remaining_allowance(limited: Client, newcomer: str) -> None:
    answers = [place(limited, newcomer) for _ in range(LIMIT + 5)]
    statuses = [answer.status for answer in answers]
    assert statuses[:LIMIT] == [201] * LIMIT
    assert 429 in statuses[LIMIT:]
    remaining_before = LIMIT
    for answer in answers:
        limit, remaining, reset = allowance(answer)
        assert limit == LIMIT
        assert 0 < reset <= RETRY_SECONDS_MAX
        assert 0 <= remaining < LIMIT
        if answer.status == 201:
            assert reset <= WINDOW_SECONDS
            assert answer.headers["Retry-After"] is None
            assert remaining >= remaining_before - 1
        else:
            answer.error(429, "rate_limited")
            assert remaining == 0
            assert 1 <= int(answer.headers["Retry-After"]) <= RETRY_SECONDS_MAX
        remaining_before = remaining


def test_a_client_without_allowance_does_not_affect_others(limited: Client, newcomer: str) -> None:
    use_up_allowance(limited, newcomer)
    answer = place(limited, newcomer + "-friend")
    assert answer.status == 201
    assert allowance(answer)[:2] == (LIMIT, LIMIT - 1)


def test_cancels_have_an_allowance_of_their_own(limited: Client, newcomer: str) -> None:
    """It is ten times as large as that of orders, whether or not the cancel names the client.

    The two allowances are independent: a client that has used up its orders can still cancel, and a
    cancel does not give it another order.
    """
    orders = [place(limited, newcomer).json["order_id"] for _ in range(4)]
    use_up_allowance(limited, newcomer)
    bodies = [None, {"client_id": newcomer}, {}, None]
    for number, (order_id, body) in enumerate(zip(orders, bodies, strict=True), 1):
        answer = limited.post(f"/orders/{order_id}/cancel", body)
        assert answer.status == 200
        assert allowance(answer)[:2] == (CANCEL_LIMIT, CANCEL_LIMIT - number)
    place(limited, newcomer).error(429, "rate_limited")


@ON_UVICORN
def test_a_client_that_has_used_up_its_cancels_can_still_place_orders(
    strict_exchange: RunningExchange, limited: Client, newcomer: str
) -> None:
    use_up_cancels(strict_exchange.port, newcomer)
    order = place(limited, newcomer)
    assert order.status == 201
    assert allowance(order)[:2] == (LIMIT, LIMIT - 1)


def test_refused_cancels_count_as_cancels(limited: Client, newcomer: str) -> None:
    """They take nothing from the allowance of orders."""
    order_id = place(limited, newcomer).json["order_id"]
    answers = [limited.post(f"/orders/{order_id}/cancel") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 409, 409]
    assert [allowance(answer)[1] for answer in answers] == [CANCEL_LIMIT - number for number in (1, 2, 3)]
    assert allowance(place(limited, newcomer))[:2] == (LIMIT, LIMIT - 2)


def test_cancels_of_unknown_orders_count_as_cancels(limited: Client, newcomer: str) -> None:
    remaining = []
    for order_id in (UNKNOWN_ID, ID_WITH_HINT, UNKNOWN_ID):
        answer = limited.post(f"/orders/{order_id}/cancel", {"client_id": newcomer})
        answer.error(404, "order_not_found")
        remaining.append(allowance(answer)[:2])
    assert remaining == [(CANCEL_LIMIT, CANCEL_LIMIT - number) for number in (1, 2, 3)]


def test_look_ups_for_refused_orders_count_as_orders(limited: Client, newcomer: str) -> None:
    """An order beyond an instrument's limits is looked up if it has a key.

    An earlier request with the key may have placed it. The rate limit bounds such look-ups.
    """
    beyond = {"price": 100_000_000, "idempotency_key": "key"}
    first = place(limited, newcomer, **beyond)
    assert first.refused_fields() == {"price"}
    assert allowance(first)[:2] == (LIMIT, LIMIT - 1)
    for _ in range(2 * LIMIT):
        answer = place(limited, newcomer, **beyond)
        if answer.status == 429:
            break
        assert answer.status == 400
    answer.error(429, "rate_limited")
    place(limited, newcomer).error(429, "rate_limited")


def test_an_order_beyond_the_rate_limit_is_not_placed(limited: Client, newcomer: str) -> None:
    use_up_allowance(limited, newcomer)
    placed = limited.get("/orders", client_id=newcomer, limit=1000).json["orders"]
    place(limited, newcomer).error(429, "rate_limited")
    assert limited.get("/orders", client_id=newcomer, limit=1000).json["orders"] == placed


def test_reads_and_invalid_orders_do_not_count(limited: Client, newcomer: str) -> None:
    for _ in range(LIMIT + 10):
        assert limited.get("/orderbook").status == 200
    for _ in range(LIMIT + 10):
        assert place(limited, newcomer, quantity=0).status == 400
    assert allowance(place(limited, newcomer))[1] == LIMIT - 1


def test_answers_to_repeated_orders_have_rate_limit_headers_too(limited: Client, newcomer: str) -> None:
    for status in (201, 200):
        answer = place(limited, newcomer, idempotency_key="key")
        assert answer.status == status
        assert allowance(answer)[0] == LIMIT
    answer = place(limited, newcomer, idempotency_key="key", quantity=2)
    answer.error(422, "idempotency_key_reused")
    assert allowance(answer)[0] == LIMIT


def test_answers_without_a_rate_limit_have_no_rate_limit_headers(client: Client, instrument: str) -> None:
    answer = client.post("/orders", order_body(instrument, "buy", 1, 10))
    assert [name for name in answer.headers if name.lower().startswith("ratelimit")] == []


# --- several orders, amends and cancels in one request ------------------------------------------------------


def test_each_order_and_amend_of_a_request_counts_as_one(limited: Client, newcomer: str) -> None:
    body = order_body("BTC-USD", "buy", 1, 10, client_id=newcomer)
    batch = limited.post("/orders/batch", {"orders": [body, body | {"price": 0}, body, body]})
    assert [result["status"] for result in batch.json["results"]] == [201, 400, 201, 201]
    assert allowance(batch)[:2] == (LIMIT, LIMIT - 3)
    first, _, second, _ = (result.get("order") for result in batch.json["results"])
    invalid = {"order_id": first["order_id"]}
    amends = [{**invalid, "quantity": 2}, invalid, {"order_id": second["order_id"], "price": 9}]
    answer = limited.post("/orders/amend", {"amends": amends})
    assert [result["status"] for result in answer.json["results"]] == [200, 400, 200]
    assert allowance(answer)[:2] == (LIMIT, LIMIT - 5)
    answer = limited.post(f"/orders/{first['order_id']}/amend", {"quantity": 3})
    assert (answer.status, allowance(answer)[:2]) == (200, (LIMIT, LIMIT - 6))
    assert allowance(place(limited, newcomer))[:2] == (LIMIT, LIMIT - 7)


def test_refused_amends_count_as_orders_and_invalid_requests_do_not(limited: Client, newcomer: str) -> None:
    order_id = place(limited, newcomer).json["order_id"]
    path, owner = f"/orders/{order_id}/amend", {"client_id": newcomer}
    refused = limited.post(path, {"trigger_price": 9})
    assert (refused.status, allowance(refused)[:2]) == (409, (LIMIT, LIMIT - 2))
    for unknown in (UNKNOWN_ID, ID_WITH_HINT):
        answer = limited.post(f"/orders/{unknown}/amend", owner | {"price": 9})
        answer.error(404, "order_not_found")
    assert allowance(answer)[:2] == (LIMIT, LIMIT - 4)
    for body in ({}, {"price": "9.999"}, {"price": 9, "colour": "red"}):
        assert limited.post(path, owner | body).status == 400
    limited.post("/orders/batch", {"orders": []}).error(400, "invalid_request")
    assert limited.post("/orders/batch", {"orders": [{}]}).headers["RateLimit-Limit"] is None
    for _ in range(3):
        tested = limited.post("/orders/test", order_body("BTC-USD", "buy", 1, 10, client_id=newcomer))
        assert (tested.status, tested.headers["RateLimit-Limit"]) == (200, None)
    assert allowance(place(limited, newcomer))[:2] == (LIMIT, LIMIT - 5)


def first_refusal(use_up: Callable[[], Answer], send: Callable[[], Answer]) -> Answer:
    """Use up an allowance and send a request, until it is refused.

    A new hour may begin meanwhile.
    """
    for _ in range(100):
        use_up()
        answer = send()
        if answer.status == 429:
            answer.error(429, "rate_limited")
            assert allowance(answer)[1] == 0
            assert 1 <= int(answer.headers["Retry-After"]) <= RETRY_SECONDS_MAX
            return answer
    raise AssertionError("the request was never refused")


def test_orders_and_amends_beyond_the_limit_are_refused_one_by_one(limited: Client, newcomer: str) -> None:
    body = order_body("BTC-USD", "buy", 1, 10, client_id=newcomer)
    friend = body | {"client_id": f"{newcomer}-friend"}
    order_id = place(limited, newcomer).json["order_id"]

    def use_up() -> Answer:
        return limited.post("/orders/batch", {"orders": [body] * LIMIT})

    use_up()
    orders = [friend, *[body] * (LIMIT - 3), body | {"price": 0}, friend]
    answer = limited.post("/orders/batch", {"orders": orders})
    found = answer.json["results"]
    assert (answer.status, allowance(answer)[1]) == (200, 0)
    assert [result["status"] for result in (found[0], *found[-3:])] == [201, 429, 400, 201]
    assert found[-3]["error"]["code"] == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= RETRY_SECONDS_MAX
    assert {result["status"] for result in found[1:-2]} <= {201, 429}
    first_refusal(use_up, lambda: limited.post(f"/orders/{order_id}/amend", {"quantity": 1}))
    use_up()
    amends = {"amends": [{"order_id": order_id, "quantity": 1}] * LIMIT}
    assert limited.post("/orders/amend", amends).json["results"][-1]["error"]["code"] == "rate_limited"
    assert limited.post("/orders/cancel", {"order_ids": [order_id]}).json["cancelled"] == [order_id]


def test_each_cancelled_id_counts_as_a_cancel_and_a_mass_cancel_and_a_switch_as_one(
    limited: Client, newcomer: str
) -> None:
    ids = [place(limited, newcomer, idempotency_key=f"key {n}").json["order_id"] for n in range(4)]
    owner: dict[str, object] = {"client_id": newcomer}
    switch = owner | {"timeout_seconds": 60}
    requests: list[tuple[str, dict[str, object], int]] = [
        ("/orders/cancel", owner | {"order_ids": [*ids[:2], UNKNOWN_ID, ID_WITH_HINT]}, 4),
        ("/orders/cancel", {"order_ids": ids[:2]}, 2),
        ("/orders/cancel", owner | {"idempotency_key": "key 2"}, 1),
        ("/orders/cancel", owner | {"idempotency_key": "none"}, 1),
        ("/orders/cancel", owner, 1),
        ("/orders/cancel", owner | {"instrument": "BTC-USD", "side": "buy"}, 1),
        ("/orders/cancel-after", switch, 1),
        ("/orders/cancel-after", switch | {"timeout_seconds": 0}, 1),
        ("/orders/cancel", owner | {"side": "up"}, 0),
    ]
    left = CANCEL_LIMIT
    for path, body, counted in requests:
        answer = limited.post(path, body)
        left -= counted
        assert answer.status == (200 if counted else 400), answer.text
        if counted:
            assert allowance(answer)[:2] == (CANCEL_LIMIT, left), (path, body)
    assert allowance(limited.post(f"/orders/{ids[3]}/cancel", owner))[:2] == (CANCEL_LIMIT, left - 1)
    assert allowance(place(limited, newcomer))[:2] == (LIMIT, LIMIT - 5)


@ON_UVICORN
def test_a_client_without_cancels_is_refused_all_forms_of_a_cancel(limited: Client, newcomer: str) -> None:
    ids = [f"01990000-0000-7000-8000-{number:012}" for number in range(100)]
    owner = {"client_id": newcomer}

    def use_up() -> Answer:
        """Send cancels until a request is refused, as it is if one of its cancels is."""
        for _ in range(2 * CANCEL_LIMIT // len(ids)):
            answer = limited.post("/orders/cancel", owner | {"order_ids": ids})
            if answer.status == 429:
                break
            assert len(answer.json["not_found"]) == len(ids)
        return answer

    assert use_up().status == 429
    for path, body in (
        ("/orders/cancel", owner | {"instrument": "BTC-USD"}),
        ("/orders/cancel", owner | {"idempotency_key": "none"}),
        ("/orders/cancel-after", owner | {"timeout_seconds": 0}),
        (f"/orders/{UNKNOWN_ID}/cancel", owner),
    ):
        refused = first_refusal(use_up, partial(limited.post, path, body))
        assert allowance(refused)[0] == CANCEL_LIMIT
    assert place(limited, newcomer).status == 201
