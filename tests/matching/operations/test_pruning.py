"""`manage.py prune` deletes old history. The remaining history stays complete."""

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from base.times import time_text
from instruments.directory import TradedInstrument
from marketdata.models import Candle
from marketdata.selectors import last_prices
from matching.models import PrunedHistory
from matching.operations.audit.database import run_check
from matching.operations.audit.database_checks import DATABASE_CHECKS
from matching.operations.pruning import prune
from matching.recovery import load_books
from orders.messages import CancelCommand, Command, PlaceCommand
from orders.models import RESTING_STATUSES, Order, Trade
from orders.selectors import find_order
from orders.time_keys import first_key
from tests.engine.flows import SHAPES
from tests.matching.partition import Partition, place, random_commands

STARTED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BATCH_TIME = timedelta(seconds=20)
COMMANDS = 600
COMMANDS_PER_BATCH = 23
MIDDLE = STARTED_AT + COMMANDS // COMMANDS_PER_BATCH // 2 * BATCH_TIME
ROWS_PER_PAGE = 7

pytestmark = pytest.mark.usefixtures("traded")


@pytest.fixture
def traded(instruments: dict[str, TradedInstrument], settings: Settings) -> Partition:
    """Trade for some minutes in two books.

    One order rests from the beginning, and trades until the end.
    """
    settings.PRUNE_ROWS_PER_PAGE = ROWS_PER_PAGE
    partition = Partition()
    batches = list(_batches())
    for commands, now in batches:
        partition.run(*commands, now=now)
    return partition


def _batches() -> Iterator[tuple[list[Command], datetime]]:
    flow = list(random_commands(SHAPES[0], seed=8, commands=COMMANDS))
    keys: dict[str, str] = {}
    large = place("buy", 60, 10**6, order_id=str(first_key(STARTED_AT - BATCH_TIME)))
    yield [large], STARTED_AT - BATCH_TIME
    now = STARTED_AT
    for number in range(0, len(flow), COMMANDS_PER_BATCH):
        batch = [_aged(command, now, keys) for command in flow[number : number + COMMANDS_PER_BATCH]]
        key = str(UUID(int=first_key(now).int + 1))
        yield [*batch, place("sell", 60, 5, order_id=key, idempotency_key=f"key-{number}")], now
        now += BATCH_TIME


def _aged(command: Command, now: datetime, keys: dict[str, str]) -> Command:
    """Return the command with an order id of that time, as real orders have."""
    assert isinstance(command, PlaceCommand | CancelCommand)
    if isinstance(command, PlaceCommand):
        keys[command.order_id] = str(UUID(int=first_key(now).int + 2 + len(keys)))
    return msgspec.structs.replace(command, order_id=keys[command.order_id])


def run_prune(*options: str) -> str:
    output = StringIO()
    call_command("prune", *options, stdout=output)
    return output.getvalue()


def stored() -> dict[str, set[UUID]]:
    return {
        "orders": set(Order.objects.values_list("order_id", flat=True)),
        "trades": set(Trade.objects.values_list("trade_id", flat=True)),
    }


def breaches() -> dict[str, list[str]]:
    with connection.cursor() as cursor:
        outcomes = [run_check(cursor, check) for check in DATABASE_CHECKS]
    return {outcome.name: outcome.breaches for outcome in outcomes if outcome.breach_count}


def test_old_history_is_deleted_and_the_remaining_history_is_complete(traded: Partition) -> None:
    documents = {order_id: find_order(order_id) for order_id in stored()["orders"]}
    expected = set(
        Order.objects.exclude(status__in=RESTING_STATUSES)
        .filter(updated_at__lt=MIDDLE)
        .values_list("order_id", flat=True)
    )
    before = stored()
    candles = list(Candle.objects.order_by("pk").values())
    output = run_prune("--before", time_text(MIDDLE))

    after = stored()
    assert before["orders"] - after["orders"] == expected
    assert len(expected) > 50
    linked = Trade.objects.values_list("trade_id", "maker_order", "taker_order")
    assert not any({maker, taker} <= expected for _, maker, taker in linked)
    assert any({maker, taker} & expected for _, maker, taker in linked)  # kept for the other order
    assert len(before["trades"] - after["trades"]) > 20
    for order_id in after["orders"]:
        assert find_order(order_id) == documents[order_id]
    assert list(Candle.objects.order_by("pk").values()) == candles
    assert {
        symbol: market.book.state_hash() for symbol, market in load_books(0).items()
    } == traded.state_hashes()
    assert breaches() == {}
    gone = {table: len(before[table] - after[table]) for table in before}
    assert f"{gone['orders']:,} orders, {gone['trades']:,} trades and 0 events deleted" in output


def test_a_dry_run_counts_the_rows_to_delete_and_changes_nothing() -> None:
    before = stored()
    dry_output = run_prune("--before", time_text(MIDDLE), "--dry-run")
    assert stored() == before
    assert not PrunedHistory.objects.exists()
    assert run_prune("--before", time_text(MIDDLE)) == dry_output.replace("would be deleted", "deleted")
    assert "0 orders, 0 trades and 0 events would be deleted" in run_prune(
        "--before", time_text(MIDDLE), "--dry-run"
    )


def test_a_later_run_deletes_trades_that_were_kept_for_an_unfinished_order() -> None:
    run_prune("--before", time_text(MIDDLE))
    kept = stored()["trades"]
    run_prune("--keep-days", "1")
    assert len(kept) > len(stored()["trades"])
    assert set(Order.objects.values_list("status", flat=True)) <= {str(status) for status in RESTING_STATUSES}
    resting = stored()["orders"]
    assert all(
        {maker, taker} & resting for maker, taker in Trade.objects.values_list("maker_order", "taker_order")
    )
    assert breaches() == {}


def test_the_last_price_outlives_its_trade(instruments: dict[str, TradedInstrument]) -> None:
    newest = {
        instrument_id: Trade.objects.filter(instrument_id=instrument_id).latest("sequence").price
        for instrument_id in set(Trade.objects.values_list("instrument_id", flat=True))
    }
    assert newest
    Order.objects.filter(status__in=RESTING_STATUSES).update(status="cancelled", reason="client_request")
    run_prune("--keep-days", "1")
    assert not Trade.objects.exists()
    assert last_prices(list(newest)) == newest


def test_deleted_rows_are_in_the_archive(tmp_path: Path) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for table, key in (("orders_order", "order_id"), ("orders_trade", "trade_id")):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {key}::text, to_json(stored) FROM {table} AS stored")
            rows |= {
                name: json.loads(row) if isinstance(row, str) else row for name, row in cursor.fetchall()
            }
    before = stored()
    archives = [tmp_path / f"history-{number}.jsonl.gz" for number in range(2)]
    run_prune("--before", time_text(MIDDLE), "--archive", str(archives[0]))
    run_prune("--keep-days", "1", "--archive", str(archives[1]))
    after = stored()
    lines = [
        json.loads(line)
        for archive in archives
        for line in gzip.decompress(archive.read_bytes()).decode().splitlines()
    ]
    archived = {row.get("order_id") or row["trade_id"]: row for line in lines for row in line.values()}
    gone = (before["orders"] - after["orders"]) | (before["trades"] - after["trades"])
    assert archived.keys() == {str(key) for key in gone}
    assert len(lines) == len(gone)
    assert {line_type for line in lines for line_type in line} == {"order", "trade"}
    assert archived == {key: rows[key] for key in archived}


def test_a_page_that_cannot_be_archived_stays_and_the_next_run_goes_on() -> None:
    archived: list[str] = []

    def archive(rows: Sequence[str]) -> None:
        if len(archived) > 3 * ROWS_PER_PAGE:
            raise OSError(28, "No space left on device")
        archived.extend(rows)

    before = stored()
    with pytest.raises(OSError, match="No space left"):
        for _ in prune(MIDDLE, archive=archive):
            pass
    assert {json.loads(row)["order"]["order_id"] for row in archived} == {
        str(key) for key in before["orders"] - stored()["orders"]
    }
    assert breaches() == {}
    run_prune("--before", time_text(MIDDLE))
    assert "0 orders, 0 trades and 0 events would" in run_prune("--before", time_text(MIDDLE), "--dry-run")
    assert breaches() == {}


def test_an_archive_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    before = stored()
    with pytest.raises(CommandError, match="can't be written"):
        run_prune("--keep-days", "1", "--archive", str(tmp_path / "missing" / "file"))
    archive = tmp_path / "history.jsonl.gz"
    archive.write_bytes(b"what is there")
    with pytest.raises(CommandError, match="exists already"):
        run_prune("--keep-days", "1", "--archive", str(archive))
    assert archive.read_bytes() == b"what is there"
    assert stored() == before


def test_rows_that_are_missing_after_the_pruned_time_are_still_a_breach() -> None:
    run_prune("--before", time_text(MIDDLE))
    late = Order.objects.filter(status="filled", priority__isnull=True, updated_at__gte=MIDDLE).latest(
        "sequence"
    )
    Trade.objects.filter(taker_order=late).delete()
    found = breaches()
    assert found.keys() >= {"fills", "sequences", "candles"}
    late.delete()
    assert "fills" in breaches()  # the fills of the makers


def test_a_time_before_all_history_deletes_nothing() -> None:
    assert "0 orders, 0 trades and 0 events deleted" in run_prune("--before", "0001-01-01")


INVALID_TIMES = {
    ("--keep-days", "0"): "less than 24 hours ago",
    ("--before", "2999-01-01"): "less than 24 hours ago",
    ("--before", "yesterday"): "RFC 3339",
    ("--keep-days", "-1"): "whole number of days",
    ("--keep-days", "1.5"): "whole number of days",
    ("--keep-days", "99999999999"): "whole number of days",
    (): "required",
    ("--keep-days", "30", "--before", "2026-01-01"): "not allowed with",
}


def test_an_invalid_or_too_recent_time_changes_nothing() -> None:
    before = stored()
    for options, message in INVALID_TIMES.items():
        with pytest.raises(CommandError, match=message):
            run_prune(*options)
        assert stored() == before, options
