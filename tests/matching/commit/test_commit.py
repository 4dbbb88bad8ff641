"""The commit on a real database: each batch is one transaction, and constraints are enforced."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from base.times import unix_milliseconds
from marketdata.models import BookSequence, Candle
from matching.batch.batch import Batch
from matching.commit import checkpoint, session
from matching.commit.checkpoint import LeaseLost
from matching.commit.prepared import PreparedStatement
from matching.commit.session import KeysTaken, OrdersMissing
from matching.commit.statement import COMMIT_ANY, COMMIT_PLAIN, statement_of
from matching.models import Checkpoint
from matching.publish.documents import order_documents, replies
from matching.recovery import load_books
from orders.messages import Command, ReplyKind
from orders.models import Order, Trade
from tests.engine.flows import SHAPES
from tests.matching.partition import (
    Partition,
    amend,
    cancel,
    cancel_after,
    expire_lease,
    place,
    random_commands,
    stop,
)

pytestmark = pytest.mark.usefixtures("instruments")

TICK, LOT = Decimal("0.01"), Decimal("0.00000001")


def stored(order_id: str) -> Order:
    return Order.objects.get(order_id=order_id)


def counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Order, Trade, Candle, BookSequence))


def row_versions() -> list[int]:
    """Return the numbers of the current row versions of all orders.

    Each write of a row to the table's first page takes the next number.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT (ctid::text::point)[1]::int FROM orders_order ORDER BY 1")
        return [number for (number,) in cursor.fetchall()]


def truncate_orders() -> None:
    """Empty the table, so that places of earlier tests' rows are not used again."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE orders_order CASCADE")


def test_orders_are_inserted_in_the_order_of_their_keys() -> None:
    """Partitions that inserted the same keys in different orders would deadlock."""
    truncate_orders()
    partition = Partition()
    keys = [("b", "2"), ("a", "3"), ("b", "1"), ("a", None), ("a", "1")]
    partition.run(*(place("buy", 100, 1, client_id=one, idempotency_key=key) for one, key in keys))
    with connection.cursor() as cursor:
        cursor.execute("SELECT client_id, idempotency_key FROM orders_order ORDER BY ctid")
        assert cursor.fetchall() == [("a", None), ("a", "1"), ("a", "3"), ("b", "1"), ("b", "2")]


def test_an_order_filled_in_its_own_batch_is_written_once() -> None:
    partition = Partition()
    maker, taker = place("sell", 7_000_000, 5), place("buy", 7_000_100, 8, client_id="client-B")
    truncate_orders()
    _, result = partition.run(maker, taker)
    assert row_versions() == [1, 2]
    assert result.changed == []
    assert (stored(maker.order_id).status, stored(maker.order_id).filled_quantity) == ("filled", 5 * LOT)
    order = stored(taker.order_id)
    assert (order.status, order.filled_quantity) == ("partially_filled", 5 * LOT)
    assert order.filled_notional == 7_000_000 * TICK * 5 * LOT
    trade = Trade.objects.get()
    assert (trade.price, trade.quantity, trade.taker_side) == (7_000_000 * TICK, 5 * LOT, "buy")
    assert (str(trade.maker_order_id), str(trade.taker_order_id)) == (maker.order_id, taker.order_id)
    assert BookSequence.objects.get().sequence == partition.books["BTC-USD"].book.sequence
    assert Checkpoint.objects.get().position == partition.lease.position == "1-0"
    # The control: an order of an earlier batch is written again.
    partition.run(place("sell", 7_000_100, 1))
    assert row_versions() == [1, 3, 4]


def test_each_batch_adds_its_fills_to_a_resting_order() -> None:
    partition = Partition()
    maker = place("sell", 100, 10)
    partition.run(maker)
    created_at = stored(maker.order_id).created_at
    for filled in (3, 6):
        _, result = partition.run(place("buy", 100, 1), place("buy", 0, 2))
        order = stored(maker.order_id)
        assert (order.status, order.filled_quantity) == ("partially_filled", filled * LOT)
        assert order.filled_notional == 100 * TICK * filled * LOT
        assert [(row.order_id, row.filled_quantity) for row in result.changed] == [
            (maker.order_id, filled * LOT)
        ]
    partition.run(cancel(maker))
    order = stored(maker.order_id)
    assert (order.status, order.reason, order.filled_quantity) == ("cancelled", "client_request", 6 * LOT)
    assert order.created_at == created_at < order.updated_at
    assert sum(trade.quantity for trade in Trade.objects.all()) == 6 * LOT


def test_a_market_order_that_finds_no_liquidity_is_cancelled() -> None:
    order = place("buy", 0, 5)
    Partition().run(order)
    assert (stored(order.order_id).status, stored(order.order_id).reason) == ("cancelled", "no_liquidity")


def test_candles_match_the_trades_of_their_minutes() -> None:
    partition = Partition()
    minute = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    commands = list(random_commands(SHAPES[0], seed=11, commands=600))
    for number in range(0, len(commands), 20):
        partition.run(*commands[number : number + 20], now=minute + timedelta(seconds=7 * number / 20))
    trades: defaultdict[tuple[int, datetime], list[Trade]] = defaultdict(list)
    for trade in Trade.objects.order_by("sequence"):
        trades[trade.instrument_id, trade.timestamp.replace(second=0, microsecond=0)].append(trade)
    assert len(trades) > 4
    candles = {(candle.instrument_id, candle.time): candle for candle in Candle.objects.all()}
    assert candles.keys() == trades.keys()
    for key, some in trades.items():
        prices, candle = [trade.price for trade in some], candles[key]
        assert (candle.open, candle.high, candle.low, candle.close) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
        )
        assert candle.volume == sum(trade.quantity for trade in some)
        assert candle.notional == sum(trade.price * trade.quantity for trade in some)
        assert candle.trade_count == len(some)


def test_each_trade_fills_both_of_its_orders() -> None:
    partition = Partition()
    commands = list(random_commands(SHAPES[3], seed=5, commands=500))
    for number in range(0, len(commands), 17):
        partition.run(*commands[number : number + 17])
    filled: defaultdict[Any, Decimal] = defaultdict(Decimal)
    for trade in Trade.objects.all():
        filled[trade.maker_order_id] += trade.quantity
        filled[trade.taker_order_id] += trade.quantity
    assert filled
    for order in Order.objects.all():
        assert order.filled_quantity == filled[order.order_id] <= order.quantity


@pytest.mark.parametrize("stale", [{"epoch": 0}, {"position": "0-0"}])
def test_a_commit_with_a_stale_lease_changes_nothing(stale: dict[str, Any]) -> None:
    partition = Partition()
    partition.run(place("sell", 100, 10))
    before, held = counts(), partition.lease
    partition.lease = held._replace(**stale)
    with pytest.raises(LeaseLost):
        partition.run(place("buy", 100, 4))
    assert counts() == before
    assert Order.objects.get().filled_quantity == 0
    assert Checkpoint.objects.get().position == held.position
    # The control: with the valid lease the same order is written.
    partition.reload()
    partition.lease = held
    partition.run(place("buy", 100, 4))
    assert counts() != before


def test_a_worker_that_was_replaced_cannot_write() -> None:
    partition = Partition()
    expire_lease()
    assert checkpoint.acquire(0, "second") is not None
    with pytest.raises(LeaseLost):
        partition.run(place("sell", 100, 10))
    assert counts() == (0, 0, 0, 0)


def test_an_order_that_is_missing_undoes_the_whole_batch() -> None:
    partition = Partition()
    maker = place("sell", 100, 10)
    partition.run(maker)
    Order.objects.all().delete()
    before, position = counts(), partition.lease.position
    with pytest.raises(OrdersMissing, match=maker.order_id):
        partition.run(place("buy", 100, 4), place("buy", 50, 1))
    assert counts() == before
    assert Checkpoint.objects.get().position == position


def test_a_batch_is_written_whole_or_not_at_all() -> None:
    """A key in use violates a constraint. Nothing is stored, and the batch can be undone."""
    partition = Partition()
    first = place("sell", 100, 10, idempotency_key="used")
    resting = place("sell", 101, 10)
    partition.run(first, resting)
    before, books = counts(), partition.state_hashes()
    commands: list[Command] = [
        place("buy", 100, 3),
        cancel(resting),
        place("buy", 100, 3, idempotency_key="used"),
    ]
    batch = Batch(partition.state, {}, datetime.now(UTC))
    for command in commands:
        batch.run(command)
    with pytest.raises(KeysTaken):
        partition.session.commit(batch, partition.lease, "2-0")
    assert counts() == before
    assert Checkpoint.objects.get().position == "1-0"
    batch.undo()
    assert partition.state_hashes() == books
    again, result = partition.run(*commands)
    sent = replies(again, order_documents(again), result)["tests"]
    bodies = {reply.kind: reply.body for reply in sent}
    assert bodies.keys() == {ReplyKind.PLACED, ReplyKind.CANCELLED, ReplyKind.DUPLICATE}
    assert bodies[ReplyKind.DUPLICATE] == first.order_id.encode()
    assert b'"status":"cancelled"' in bodies[ReplyKind.CANCELLED]
    stored_books = load_books(0)
    assert partition.state_hashes() == {
        symbol: market.book.state_hash() for symbol, market in stored_books.items()
    }


@pytest.fixture
def forbid_changes() -> Iterator[Callable[[], None]]:
    """Yield a function after whose call each update of an order raises an error."""

    def forbid() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql"
                " AS 'BEGIN RAISE EXCEPTION ''changed''; END';"
                "CREATE TRIGGER forbid BEFORE UPDATE ON orders_order FOR EACH ROW EXECUTE FUNCTION forbid()"
            )

    yield forbid
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION forbid CASCADE")


def test_a_used_key_is_refused_before_any_order_is_changed(forbid_changes: Callable[[], None]) -> None:
    """A repeated key costs next to nothing, however much its order would trade."""
    partition = Partition()
    partition.run(place("sell", 100, 10, idempotency_key="used"))
    batch = Batch(partition.state, {}, datetime.now(UTC))
    batch.run(place("buy", 100, 3, idempotency_key="used"))
    forbid_changes()
    with pytest.raises(KeysTaken):
        partition.session.commit(batch, partition.lease, "2-0")
    with pytest.raises(LeaseLost):
        partition.session.commit(batch, partition.lease._replace(epoch=0), "2-0")
    batch.undo()
    with pytest.raises(DatabaseError, match="changed"):  # the control
        partition.run(place("buy", 100, 3))


def test_an_error_of_the_operating_system_is_an_outage_of_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker would take an OSError for an outage of Redis, and keep its books."""

    def fail(driver: Any) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(session, "move_session_to_own_processors", fail)
    with pytest.raises(OperationalError, match="too many"):
        Partition().run(place("buy", 100, 3))


def test_statements_are_prepared_again_if_only_some_of_them_were_prepared() -> None:
    """Preparing may exceed a time limit while a table is locked. Some statements stay prepared."""
    connection.ensure_connection()
    session.FIND_KEYS.prepare(connection.connection)
    Partition().run(place("buy", 100, 3, idempotency_key="k"))
    assert Order.objects.get().idempotency_key == "k"


CONSTRAINTS = [
    ("UPDATE orders_order SET filled_quantity = quantity * 2", "order_fills_within_quantity"),
    ("UPDATE orders_order SET filled_quantity = -1", "order_fills_within_quantity"),
    ("UPDATE orders_order SET quantity = 0, filled_quantity = 0", "order_fills_within_quantity"),
    ("UPDATE orders_order SET price = 0", "order_prices_by_type"),
    ("UPDATE orders_order SET price = NULL", "order_prices_by_type"),
    ("UPDATE orders_order SET type = 'market'", "order_prices_by_type"),
    ("UPDATE orders_order SET type = 'stop_limit'", "order_prices_by_type"),
    ("UPDATE orders_order SET trigger_price = 1", "order_prices_by_type"),
    ("UPDATE orders_order SET status = 'unknown'", "order_status_matches_fills"),
    (
        "UPDATE orders_order SET status = 'filled' WHERE status = 'partially_filled'",
        "order_status_matches_fills",
    ),
    ("UPDATE orders_order SET status = 'open' WHERE status = 'filled'", "order_status_matches_fills"),
    ("UPDATE orders_order SET client_id = 'one', idempotency_key = 'key'", "order_idempotency_key"),
    ("UPDATE orders_order SET order_id = '00000000-0000-7000-8000-000000000000'", "orders_order_pkey"),
    ("UPDATE orders_trade SET price = 0", "trade_price_and_quantity_positive"),
    ("UPDATE orders_trade SET quantity = 0", "trade_price_and_quantity_positive"),
    ("UPDATE orders_trade SET maker_order_id = taker_order_id", "trade_of_two_orders"),
    ("UPDATE orders_trade SET sequence = 1", "trade_sequence"),
    ("UPDATE marketdata_candle SET low = high + 1", "candle_prices_ordered"),
    ("UPDATE instruments_instrument SET tick_size = 0", "instrument_steps_positive"),
    ("UPDATE instruments_instrument SET max_price = min_price / 2", "instrument_limits_ordered"),
]


@pytest.mark.parametrize(("statement", "constraint"), CONSTRAINTS)
def test_a_constraint_refuses_invalid_rows(statement: str, constraint: str) -> None:
    Partition().run(place("sell", 100, 10), place("buy", 100, 4), place("buy", 100, 3))
    with connection.cursor() as cursor, pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        cursor.execute(statement)
    with connection.cursor() as cursor:  # the control: the same table takes a harmless statement
        cursor.execute(f"UPDATE {statement.split()[1]} SET {(column := statement.split()[3])} = {column}")
        assert cursor.rowcount > 0


def test_only_batches_with_instructions_run_the_long_statement() -> None:
    """The long one can write everything, so only its cost tells them apart."""
    partition = Partition()
    maker = place("sell", 100, 5)
    partition.run(maker)

    def statement(*commands: Command) -> PreparedStatement:
        batch = partition.match(*commands)
        chosen, _ = statement_of(batch, partition.lease, "9-0")
        batch.undo()
        return chosen

    plain: list[Command] = [place("buy", 100, 1), place("buy", 0, 1), place("buy", 90, 1), cancel(maker)]
    for command in plain:
        assert statement(command) is COMMIT_PLAIN
    assert statement(*plain) is COMMIT_PLAIN
    due_ms = unix_milliseconds(datetime.now(UTC)) + 60_000
    rare: list[Command] = [
        place("buy", 90, 1, post_only=True),
        place("buy", 90, 1, self_trade_prevention="cancel_both"),
        place("buy", 90, 1, time_in_force="gtd", expires_at_ms=due_ms),
        stop("buy", 110, 1),
        amend(maker, quantity_lots=4),
        amend(maker, price_ticks=101),
        cancel_after("client-A", 60),
    ]
    for command in rare:
        assert statement(*plain[:3], command) is COMMIT_ANY
