"""`manage.py prune` of orders with instructions: events go with their orders, and live orders stay."""

import gzip
import json
from datetime import datetime, timedelta
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from base.times import time_text
from instruments.directory import TradedInstrument
from matching.operations.audit.database import run_check
from matching.operations.audit.database_checks import DATABASE_CHECKS
from matching.operations.pruning import prune
from orders.messages import AmendCommand, CancelCommand, Command, PlaceCommand
from orders.models import LIVE_STATUSES, Order, OrderEvent
from orders.time_keys import first_key
from tests.matching.flows import STARTED_AT, InstructedFlow
from tests.matching.partition import Partition, amend, place, stop

SEGMENTS = 100
COMMANDS = 30
ROWS_PER_PAGE = 7
PAGES_BETWEEN_INTERRUPTIONS = 15

pytestmark = pytest.mark.usefixtures("traded")


@pytest.fixture
def traded(instruments: dict[str, TradedInstrument], settings: Settings) -> Partition:
    """Trade for some minutes, with two old orders that stay live: one waits, one was amended."""
    settings.PRUNE_ROWS_PER_PAGE = ROWS_PER_PAGE
    partition, keys = Partition(), dict[str, str]()
    waiting = stop("buy", 5_000, 5, order_id="waiting")
    amended = place("buy", 1, 5, order_id="amended")
    old = (waiting, amend(waiting, quantity_lots=4), amended, amend(amended, price_ticks=2))
    now = STARTED_AT - timedelta(seconds=1)
    partition.run_all(*(aged(command, now, keys) for command in old), now=now)
    for now, commands in InstructedFlow(7).segments(SEGMENTS, COMMANDS):
        partition.run_all(*(aged(command, now, keys) for command in commands), now=now)
    return partition


def aged(command: Command, now: datetime, keys: dict[str, str]) -> Command:
    """Return the command with an order id of that time, as real orders have."""
    if not isinstance(command, PlaceCommand | CancelCommand | AmendCommand):
        return command
    if isinstance(command, PlaceCommand):
        keys[command.order_id] = str(UUID(int=first_key(now).int + 1 + len(keys)))
    return msgspec.structs.replace(command, order_id=keys[command.order_id])


def run_prune(*options: str) -> str:
    output = StringIO()
    call_command("prune", *options, stdout=output)
    return output.getvalue()


def middle() -> datetime:
    """Return a time that has as many events before it as after it."""
    times = sorted(OrderEvent.objects.values_list("timestamp", flat=True))
    return times[len(times) // 2]


def orders_of_events() -> dict[int, set[UUID]]:
    """Return the ids of each event's orders, by the id of the event."""
    rows = OrderEvent.objects.values_list("id", "order_id", "taker_order_id")
    return {key: {order_id, taker_id} - {None} for key, order_id, taker_id in rows}


def order_ids() -> set[UUID]:
    return set(Order.objects.values_list("order_id", flat=True))


def breaches() -> dict[str, list[str]]:
    with connection.cursor() as cursor:
        results = [run_check(cursor, check) for check in DATABASE_CHECKS]
    return {result.name: result.breaches for result in results if result.breach_count}


def test_events_are_deleted_with_the_last_of_their_orders(traded: Partition) -> None:
    before, live = orders_of_events(), set(Order.objects.filter(status__in=LIVE_STATUSES))
    output = run_prune("--before", time_text(middle()))

    kept = order_ids()
    assert orders_of_events() == {key: orders for key, orders in before.items() if orders & kept}
    assert 10 < len(before) - OrderEvent.objects.count() < len(before) - 10
    assert f" and {len(before) - OrderEvent.objects.count():,} events deleted" in output
    assert set(Order.objects.filter(status__in=LIVE_STATUSES)) == live
    assert breaches() == {}
    hashes = traded.state_hashes()
    traded.reload()
    assert traded.state_hashes() == hashes

    run_prune("--keep-days", "1")
    assert set(Order.objects.all()) == live
    assert {order.status for order in live} >= {"pending", "open"}
    assert all(orders & order_ids() for orders in orders_of_events().values())
    assert OrderEvent.objects.exists()
    assert breaches() == {}


def test_a_dry_run_counts_the_events() -> None:
    events = OrderEvent.objects.count()
    before = time_text(middle())
    dry_output = run_prune("--before", before, "--dry-run")
    assert OrderEvent.objects.count() == events
    assert " and 0 events" not in dry_output
    assert run_prune("--before", before) == dry_output.replace("would be deleted", "deleted")


def test_deleted_events_are_in_the_archive(tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, to_json(stored)::text FROM orders_orderevent AS stored")
        rows: dict[int, dict[str, Any]] = {key: json.loads(row) for key, row in cursor.fetchall()}
    archive = tmp_path / "history.jsonl.gz"
    run_prune("--before", time_text(middle()), "--archive", str(archive))
    lines = [json.loads(line) for line in gzip.decompress(archive.read_bytes()).decode().splitlines()]
    archived = [line["event"] for line in lines if "event" in line]
    assert len(archived) > 10
    assert {row["id"]: row for row in archived} == {
        key: row for key, row in rows.items() if key not in orders_of_events()
    }


def test_the_audit_finds_no_breach_at_any_moment_of_a_run() -> None:
    """After an interruption, trades and events may be left whose orders are gone."""
    interruptions = 0
    pages = prune(middle())
    while list(islice(pages, PAGES_BETWEEN_INTERRUPTIONS)):
        interruptions += 1
        assert breaches() == {}, interruptions
    assert interruptions > 3
