"""Random flows of every instruction: the books, the rows and what is due follow from one another."""

import json
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from pytest_django.fixtures import Settings

from base.encoding import encode_json
from instruments.models import Instrument
from marketdata.checksum import levels_checksum
from marketdata.models import BookSequence, Candle
from matching.models import Checkpoint, DeferredCommand
from matching.publish.documents import market_batches, order_documents
from matching.recovery import load_partition
from orders.models import CancelAfter, ConnectionGuard, Order, OrderEvent, OrderStatus, Reason, Trade
from orders.selectors import find_order
from streaming.book_copy import BookCopy
from tests.matching.explained import unexplained
from tests.matching.flows import InstructedFlow
from tests.matching.partition import Partition, contents

pytestmark = pytest.mark.usefixtures("instruments", "low_bounds")

TABLES: tuple[Any, ...] = (
    *(Order, Trade, OrderEvent, CancelAfter, ConnectionGuard, Candle, BookSequence),
    DeferredCommand,
)
MADE_UP = {"id", "trade_id"}  # columns that another run fills in another way
SEGMENTS, COMMANDS = 10, 50
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]


@pytest.fixture
def low_bounds(instruments: object, settings: Settings) -> None:
    """Let a flow reach all bounds."""
    settings.ORDER_TRADES_MAX = 2
    settings.INSTRUMENT_OPEN_ORDERS_MAX = 20
    settings.BOOK_LEVELS_PER_SIDE_MAX = 6
    settings.BOOK_LEVELS_IMPROVING_MAX = 1
    Instrument.objects.update(open_orders_max=6)


def rows() -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all tables that a batch writes."""
    found = {}
    for model in TABLES:
        columns = [field.attname for field in model._meta.concrete_fields if field.attname not in MADE_UP]
        found[model.__name__] = sorted(model.objects.values_list(*columns), key=repr)
    return found


def empty_tables() -> None:
    with connection.cursor() as cursor:
        names = ", ".join(model._meta.db_table for model in (*TABLES, Checkpoint))
        cursor.execute(f"TRUNCATE {names}")


def run_flow(seed: int, *, commands_max: int, reload: bool = False, has_mass_cancels: bool = True) -> int:
    """Run and commit a flow. Returns how many commands were deferred."""
    partition = Partition()
    flow = InstructedFlow(seed, has_mass_cancels=has_mass_cancels)
    return sum(
        len(batch.deferred)
        for now, commands in flow.segments(SEGMENTS, COMMANDS)
        for batch, _ in partition.batches(*commands, now=now, commands_max=commands_max, reload=reload)
    )


def cut_into_small_pieces(settings: Settings) -> None:
    settings.WORKER_BATCH_TRADES_MAX = 2
    settings.WORKER_BATCH_CANCELS_MAX = 1
    settings.WORKER_BATCH_TRIGGERED_MAX = 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_batches_that_a_flow_is_cut_into_make_no_difference(settings: Settings, seed: int) -> None:
    run_flow(seed, commands_max=256)
    expected = rows()
    assert len(expected["OrderEvent"]) > SEGMENTS < len(expected["Trade"])
    empty_tables()
    run_flow(seed, commands_max=1)
    assert rows() == expected
    for room in (0, 2, 100):
        empty_tables()
        cut_into_small_pieces(settings)
        settings.WORKER_DEFERRED_COMMANDS_MAX = room
        # A piece of a mass cancel comes after commands that were deferred meanwhile.
        settings.WORKER_BATCH_CANCELS_MAX = 1 if room == 0 else 1_000
        assert (run_flow(seed, commands_max=7) > 0) == (room > 0)
        assert rows() == expected


@pytest.mark.parametrize("has_room", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_takeover_between_any_two_batches_makes_no_difference(
    settings: Settings, seed: int, has_room: bool
) -> None:
    """The order in which a mass cancel or a guard takes orders off may differ, so the flow has none."""
    run_flow(seed, commands_max=256, has_mass_cancels=False)
    expected = rows()
    empty_tables()
    cut_into_small_pieces(settings)
    settings.WORKER_DEFERRED_COMMANDS_MAX = 100 if has_room else 2
    assert run_flow(seed, commands_max=3, reload=True, has_mass_cancels=False) > 0
    assert rows() == expected


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_stored_gives_the_same_state_and_explains_each_number(
    settings: Settings, seed: int, pieces: bool
) -> None:
    if pieces:
        cut_into_small_pieces(settings)
    partition = Partition()
    for now, commands in InstructedFlow(seed).segments(SEGMENTS, COMMANDS):
        partition.run_all(*commands, now=now, commands_max=9)
        assert contents(load_partition(0)) == contents(partition.state)
    for symbol in partition.books:
        assert unexplained(symbol) == {}
    assert not Order.objects.filter(quantity__lt=F("filled_quantity") + F("prevented_quantity")).exists()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_published_equals_what_is_stored(settings: Settings, seed: int) -> None:
    """Each document of an order is the stored one, and the deltas give the book."""
    settings.MARKET_MESSAGE_CHANGES_MAX = 5
    cut_into_small_pieces(settings)
    partition = Partition()
    copies = {symbol: BookCopy(market.instrument.grid) for symbol, market in partition.books.items()}
    for copy in copies.values():
        copy.sequence = 0
    for now, commands in InstructedFlow(seed).segments(SEGMENTS, COMMANDS):
        for batch, result in partition.batches(*commands, now=now, commands_max=9):
            documents = order_documents(batch)
            for order_id, document in documents.items():
                assert json.loads(document) == json.loads(encode_json(find_order(order_id)))
            updates = dict[str, Any]()
            for message in market_batches(result, batch, documents):
                copy = copies[message.instrument]
                assert message.previous_sequence == copy.sequence
                assert message.sequence - message.previous_sequence <= 5
                copy.apply(message.levels, message.sequence)
                updates |= {
                    json.loads(state)["order_id"]: json.loads(state) for _, _, state in message.orders
                }
            assert updates.keys() == batch.orders.keys() | batch.changes.keys()
            for order_id, update in updates.items():
                stored = json.loads(encode_json(find_order(order_id)))
                assert {**stored, **update, "trades": None} == {**stored, "trades": None}
    for symbol, market in partition.books.items():
        bids, asks = market.book.depth()
        assert copies[symbol].sequence == market.book.sequence
        assert copies[symbol].checksum() == levels_checksum(bids, asks, market.instrument.grid)
        assert [len(copies[symbol].levels(side)) for side in ("buy", "sell")] == [len(bids), len(asks)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_is_taken_back_with_all_that_is_due(seed: int) -> None:
    partition = Partition()
    undone = 0
    for now, commands in InstructedFlow(seed).segments(SEGMENTS, COMMANDS):
        before = contents(partition.state)
        batch = partition.match(*commands, now=now)
        undone += contents(partition.state) != before
        batch.undo()
        assert contents(partition.state) == before
        partition.run(*commands, now=now)
    assert undone > SEGMENTS / 2
    assert contents(load_partition(0)) == contents(partition.state)


def test_the_flows_have_every_status_reason_and_event() -> None:
    """The control: what the flows do not have would not be tested.

    Some of it is rare, so more seeds run here.
    """
    statuses, reasons, kinds = set(), set(), set()
    for seed in range(14):
        run_flow(seed, commands_max=256)
        statuses |= set(Order.objects.values_list("status", flat=True))
        reasons |= set(Order.objects.values_list("status", "reason"))
        kinds |= set(OrderEvent.objects.values_list("kind", flat=True))
        empty_tables()
    assert statuses == {str(status) for status in OrderStatus}
    assert kinds == {str(kind) for kind in OrderEvent.Kind}
    assert {reason for _, reason in reasons} == {None, *Reason.values} - {
        "operator",
        "instrument_halted",
    }
    assert {("cancelled", "would_cross"), ("rejected", "would_cross")} <= reasons
