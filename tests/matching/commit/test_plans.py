"""PostgreSQL finds idempotency keys by their index, however small the table was at first."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from matching.commit.session import CommitSession
from orders.models import Order
from tests.matching.partition import new_id

pytestmark = [pytest.mark.usefixtures("instruments"), pytest.mark.plans]

CLIENT = "client-A"
KEY = "a-key-that-is-long-enough-for-its-index-to-grow-before-the-other-one-does-{}"
KEYS = [(CLIENT, KEY.format(1))]


def add_orders(count: int) -> None:
    """Store orders of one client, each with an idempotency key."""
    now = datetime.now(UTC)
    Order.objects.bulk_create(
        Order(
            order_id=new_id(),
            client_id=CLIENT,
            instrument_id=1,
            side="buy",
            type="limit",
            price=1,
            quantity=1,
            status="open",
            idempotency_key=KEY.format(number),
            sequence=number,
            created_at=now,
            updated_at=now,
        )
        for number in range(Order.objects.count(), Order.objects.count() + count)
    )


def plan() -> str:
    """Return the plan that the session keeps for looking up keys."""
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN EXECUTE find_keys('{}', '{}')")
        lines = [line for (line,) in cursor.fetchall()]
    return "\n".join(lines)


def test_keys_are_found_by_their_index_whatever_the_statistics_say_about_a_client() -> None:
    """While each client has one order, another index is as good. Then a client sends thousands."""
    session = CommitSession.of_this_thread()
    add_orders(300)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET client_id = order_id::text")
        cursor.execute("ANALYZE orders_order")
    add_orders(300)
    session.forget_plans()
    assert len(session.find_keys([(CLIENT, KEY.format(400))])) == 1
    assert "order_idempotency_key" in plan()
    assert "order_list_by_client" not in plan()


def test_keys_are_found_by_their_index_when_the_table_has_grown() -> None:
    session = CommitSession.of_this_thread()
    add_orders(150)
    for _ in range(10):  # after some of them, PostgreSQL keeps the plan
        assert len(session.find_keys(KEYS)) == 1
    add_orders(5_000)
    session.forget_plans()
    assert len(session.find_keys(KEYS)) == 1
    assert "order_idempotency_key" in plan()
