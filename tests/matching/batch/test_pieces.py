"""Work that does not fit into one batch goes on in the next ones, also after a takeover between them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from pytest_django.fixtures import Settings

from base.times import unix_milliseconds
from matching.batch.batch import Batch
from matching.recovery import load_partition
from orders.messages import CancelAllCommand, CancelledOrders, Command, PlaceCommand, ReplyKind
from orders.models import CancelAfter, Order, OrderEvent
from tests.matching.explained import unexplained
from tests.matching.flows import STARTED_AT, after
from tests.matching.partition import (
    Partition,
    amend,
    cancel,
    cancel_after,
    cancel_all,
    contents,
    new_id,
    place,
    stop,
)

pytestmark = pytest.mark.usefixtures("instruments")


def statuses(orders: list[PlaceCommand]) -> list[str]:
    stored = {str(row.order_id): row.status for row in Order.objects.all()}
    return [stored[order.order_id] for order in orders]


@pytest.fixture
def partition() -> Partition:
    return Partition()


@pytest.fixture(params=["one worker", "takeovers"])
def next_batch(partition: Partition, request: pytest.FixtureRequest) -> Callable[..., tuple[Batch, int]]:
    """Return a function that runs one batch, and returns it with the number of commands that were run.

    With takeovers, each batch is run by a worker that has loaded the partition from the database.
    """

    def run(*commands: Command, now: datetime = STARTED_AT) -> tuple[Batch, int]:
        if request.param == "takeovers":
            partition.reload()
        batch = Batch(partition.state, {}, now)
        batch.start()
        batch.run_deferred(256)
        done = next((number for number, one in enumerate(commands) if not batch.run(one)), len(commands))
        partition.commit(batch)
        assert contents(load_partition(0)) == contents(partition.state)
        for symbol in partition.books:
            assert unexplained(symbol) == {}
        return batch, done

    return run


NextBatch = Callable[..., tuple[Batch, int]]


# --- Chains of triggers -----------------------------------------------------------------------------------


def chain(links: int) -> tuple[list[PlaceCommand], list[Command]]:
    """Return stops that trigger one after the other, and the orders that they trade with."""
    makers: list[Command] = [place("sell", 110 + number, 1, client_id="bob") for number in range(links + 1)]
    return [stop("buy", 110 + number, 1) for number in range(links)], makers


def test_a_chain_of_triggers_goes_on_in_the_next_batches(
    settings: Settings, partition: Partition, next_batch: NextBatch
) -> None:
    stops, makers = chain(5)
    partition.run(*stops, *makers, now=STARTED_AT)
    settings.WORKER_BATCH_TRIGGERED_MAX = 2
    first = place("buy", 110, 1, client_id="tom")
    late = place("sell", 50, 1, client_id="bob"), cancel(stops[4])
    elsewhere = place("buy", 50, 1, instrument="ETH-USD")
    batch, done = next_batch(first, *late, elsewhere, now=after(1))
    assert (done, batch.commands) == (4, 2)  # the other book's commands need not wait
    assert [one.command for one in batch.deferred] == list(late)
    assert statuses(stops) == ["filled", "filled", "pending", "pending", "pending"]
    triggered = Order.objects.filter(triggered_at__isnull=False).order_by("triggered_at", "sequence")
    assert [str(row.order_id) for row in triggered] == [order.order_id for order in stops[:3]]
    batch, _ = next_batch(now=after(2))
    assert batch.commands == 0
    assert statuses(stops) == ["filled"] * 4 + ["pending"]
    batch, _ = next_batch(now=after(3))
    assert batch.commands == 2
    assert statuses([*stops, late[0]]) == ["filled"] * 5 + ["open"]  # neither comes before the chain's end
    times = Order.objects.exclude(triggered_at=None).order_by("triggered_at")
    assert [row.triggered_at for row in times] == [after(1)] * 3 + [after(2)] * 2
    assert not partition.state.unfinished


def test_triggered_orders_wait_in_their_order(
    settings: Settings, partition: Partition, next_batch: NextBatch
) -> None:
    stops = [stop("buy", price, 1, 50) for price in (112, 110, 111, 110)]
    partition.run(*stops, place("sell", 112, 1, client_id="bob"), now=STARTED_AT)
    settings.WORKER_BATCH_TRIGGERED_MAX = 1
    next_batch(place("buy", 112, 1, client_id="tom"))
    assert statuses(stops) == ["pending", "open", "pending", "pending"]
    assert Order.objects.filter(triggered_at__isnull=False).count() == 4
    assert OrderEvent.objects.filter(kind="triggered").count() == 4
    for expected in (("pending", "pending", "open"), ("pending", "open", "open"), ("open",) * 3):
        next_batch()
        found = statuses(stops)
        assert (found[0], found[2], found[3]) == expected
        assert found[1] == "open"


def test_the_commands_of_one_batch_share_its_room_for_triggered_orders(
    settings: Settings, partition: Partition, next_batch: NextBatch
) -> None:
    stops = [stop("buy", price, 1, 50) for price in (110, 111, 112, 113)]
    makers = [place("sell", price, 1, client_id="bob") for price in (110, 111, 112, 113)]
    partition.run(*stops, *makers, now=STARTED_AT)
    settings.WORKER_BATCH_TRIGGERED_MAX = 2
    takers = [place("buy", 0, 1, client_id="tom") for _ in range(4)]
    batch, _ = next_batch(*takers)
    assert (batch.commands, statuses(stops)) == (3, ["open", "open", "pending", "pending"])
    batch, _ = next_batch()
    assert (batch.commands, statuses(stops)) == (1, ["open"] * 4)


def test_a_triggered_order_that_waits_for_its_turn_is_cancelled_if_its_time_comes(
    settings: Settings, partition: Partition, next_batch: NextBatch
) -> None:
    gtd: dict[str, Any] = {"time_in_force": "gtd", "expires_at_ms": unix_milliseconds(after(5))}
    stops = [stop("buy", 110, 1, 50, **gtd) for _ in range(3)]
    partition.run(*stops, place("sell", 110, 1, client_id="bob"), cancel_after("client-A", 9), now=STARTED_AT)
    settings.WORKER_BATCH_TRIGGERED_MAX = 1
    next_batch(place("buy", 110, 1, client_id="tom"))
    next_batch(now=after(5))
    assert [row.reason for row in Order.objects.filter(client_id="client-A")] == ["expired"] * 3
    assert not partition.state.unfinished
    next_batch(now=after(9))


def test_a_mass_cancel_and_an_amend_wait_for_the_chain(
    settings: Settings, partition: Partition, next_batch: NextBatch
) -> None:
    stops = [stop("buy", 110, 1, 50) for _ in range(2)]
    partition.run(*stops, place("sell", 110, 1, client_id="bob"), now=STARTED_AT)
    settings.WORKER_BATCH_TRIGGERED_MAX = 1
    next_batch(place("buy", 110, 1, client_id="tom"))
    settings.WORKER_BATCH_TRIGGERED_MAX = 0
    for late in (amend(stops[1], quantity_lots=2), cancel_all("client-A")):
        assert next_batch(late)[0].commands == 0
    settings.WORKER_BATCH_TRIGGERED_MAX = 1
    batch, _ = next_batch()
    assert (batch.commands, len(batch.changes)) == (2, 2)
    assert statuses(stops) == ["cancelled"] * 2
    assert (
        Order.objects.get(order_id=stops[1].order_id).quantity
        == Order.objects.get(order_id=stops[0].order_id).quantity * 2
    )


# --- Many cancels -----------------------------------------------------------------------------------------


def piece(command: CancelAllCommand, first: CancelAllCommand) -> CancelAllCommand:
    return msgspec.structs.replace(command, request_id=new_id(), continues=first.request_id)


def cancelled_by(batch: Batch, command: CancelAllCommand) -> tuple[int, list[str], bool]:
    """Return what a mass cancel was answered: the count, the ids, and whether there is more."""
    (reply,) = [reply for reply in batch.replies["tests"] if reply.request_id == command.request_id]
    assert reply.kind is ReplyKind.CANCELLED_ALL
    answer = msgspec.json.decode(reply.body, type=CancelledOrders)
    return answer.count, answer.order_ids, answer.is_more


def test_others_orders_come_between_the_pieces_of_a_mass_cancel(
    settings: Settings, partition: Partition
) -> None:
    orders = [place("buy", 100 - number, 1) for number in range(5)]
    ids = [order.order_id for order in orders]
    partition.run(*orders, now=STARTED_AT)
    settings.WORKER_BATCH_CANCELS_MAX = 2
    first = cancel_all("client-A")
    batch, _ = partition.run(first, now=STARTED_AT)
    assert cancelled_by(batch, first) == (2, ids[:2], True)
    # A new order of the client stays. An order of the others takes the next one that would be cancelled.
    late, taker = place("buy", 90, 1), place("sell", 98, 1, client_id="bob")
    second = piece(first, first)
    batch, _ = partition.run(late, taker, second, now=STARTED_AT)
    assert cancelled_by(batch, second) == (2, ids[3:], False)
    assert statuses([*orders, late]) == ["cancelled"] * 2 + ["filled"] + ["cancelled"] * 2 + ["open"]
    assert partition.state.mass_cancels == {}


def test_a_mass_cancel_is_narrowed_in_each_piece(settings: Settings, partition: Partition) -> None:
    bids = [place("buy", 100, 1) for _ in range(3)]
    others = [place("sell", 200, 1), place("buy", 100, 1, client_id="bob")]
    partition.run(*bids, *others, stop("buy", 300, 1), now=STARTED_AT)
    settings.WORKER_BATCH_CANCELS_MAX = 2
    first = cancel_all("client-A", side="buy", instrument="BTC-USD")
    batch, _ = partition.run(first, now=STARTED_AT)
    assert cancelled_by(batch, first)[0] == 2
    second = piece(first, first)
    batch, _ = partition.run(second, now=STARTED_AT)
    assert cancelled_by(batch, second)[0] == 2  # a bid and the stop
    assert statuses(bids + others) == ["cancelled"] * 3 + ["open"] * 2


def test_a_worker_that_takes_over_cancels_nothing_new_for_an_old_mass_cancel(
    settings: Settings, partition: Partition
) -> None:
    orders = [place("buy", 100, 1) for _ in range(3)]
    partition.run(*orders, now=STARTED_AT)
    settings.WORKER_BATCH_CANCELS_MAX = 2
    first = cancel_all("client-A")
    partition.run(first, now=STARTED_AT)
    partition.reload()
    batch, _ = partition.run(piece(first, first), now=STARTED_AT)
    (reply,) = batch.replies["tests"]
    assert reply.kind is ReplyKind.FAILED
    assert statuses(orders) == ["cancelled", "cancelled", "open"]


def test_the_number_of_unfinished_mass_cancels_is_bounded(settings: Settings, partition: Partition) -> None:
    """The oldest one is forgotten. A batch that is taken back forgets nothing."""
    clients = ["ann", "bob", "cid"]
    partition.run(*(place("buy", 100, 1, client_id=one) for one in clients for _ in range(2)), now=STARTED_AT)
    settings.WORKER_BATCH_CANCELS_MAX, settings.WORKER_MASS_CANCELS_MAX = 1, 2
    commands = [cancel_all(one) for one in clients]
    for command in commands[:2]:
        partition.run(command, now=STARTED_AT)
    known = partition.state.mass_cancels
    assert list(known) == [command.request_id for command in commands[:2]]
    partition.match(commands[2], now=STARTED_AT).undo()
    assert partition.state.mass_cancels == known
    partition.run(commands[2], now=STARTED_AT)
    assert list(partition.state.mass_cancels) == [command.request_id for command in commands[1:]]


def test_expiries_and_switches_come_before_commands_even_if_they_take_several_batches(
    settings: Settings, partition: Partition, next_batch: NextBatch
) -> None:
    gtd: dict[str, Any] = {"time_in_force": "gtd", "expires_at_ms": unix_milliseconds(after(5))}
    orders = [place("sell", 100, 1, **gtd) for _ in range(3)] + [place("sell", 100, 1) for _ in range(3)]
    partition.run(*orders, cancel_after("client-A", 6), now=STARTED_AT)
    settings.WORKER_BATCH_CANCELS_MAX = 2
    taker = place("buy", 100, 1, client_id="bob")
    for batch_number, cancelled in enumerate((2, 4, 6)):
        _, done = next_batch(taker, now=after(10))
        assert (done, statuses(orders).count("cancelled")) == (0, cancelled), batch_number
        assert CancelAfter.objects.exists()  # it may have more orders
    _, done = next_batch(taker, now=after(10))
    assert (done, statuses([taker])) == (1, ["open"])
    assert not CancelAfter.objects.exists()
    reasons = [row.reason for row in Order.objects.filter(client_id="client-A").order_by("sequence")]
    assert reasons == ["expired"] * 3 + ["cancel_after"] * 3


# --- Undo -------------------------------------------------------------------------------------------------


def test_a_batch_of_everything_is_taken_back(settings: Settings, partition: Partition) -> None:
    """Its chain starts in an earlier batch, and another chain goes on in the next one."""
    settings.WORKER_BATCH_TRIGGERED_MAX = 2
    gtd: dict[str, Any] = {"time_in_force": "gtd", "expires_at_ms": unix_milliseconds(after(5))}
    chained = [stop("buy", 110, 1, 50) for _ in range(3)]
    waiting = [stop("sell", 90, 1, 200, **gtd), stop("sell", 90, 2), stop("sell", 90, 1), stop("sell", 90, 1)]
    resting = place("buy", 80, 5, **gtd)
    replaced = cancel_after("eve", 60)
    expired = place("buy", 81, 5, time_in_force="gtd", expires_at_ms=unix_milliseconds(after(1)))
    partition.run(
        *(*chained, *waiting, resting, expired, place("buy", 82, 1, client_id="joe")),
        *(replaced, cancel_after("joe", 1), cancel_after("ann", 90)),
        *(place("sell", 110, 1, client_id="bob"), place("buy", 110, 1, client_id="tom")),
        now=STARTED_AT,
    )
    assert partition.state.unfinished
    before = contents(partition.state)
    commands: list[Command] = [
        amend(resting, price_ticks=79, quantity_lots=6, expires_at_ms=unix_milliseconds(after(8))),
        amend(waiting[0], trigger_price_ticks=91),
        amend(waiting[0], quantity_lots=1, expires_at_ms=unix_milliseconds(after(9))),
        place("sell", 120, 5, **gtd),
        *(cancel_after("eve", 10), cancel_after("ann", 0), cancel_after("new", 5)),
        cancel_all("client-A", side="sell", instrument="ETH-USD"),
        *(place("buy", 90, 1, client_id="bob"), place("sell", 90, 1, client_id="tom")),
    ]
    batch = partition.match(*commands, now=after(2))
    kinds = {type(event).__name__ for _, events, _ in batch.events for event in events}
    assert kinds >= {"OrderEntered", "OrderTriggered", "OrderCancelled", "OrderWithdrawn", "WaitingAmended"}
    assert partition.state.unfinished
    assert contents(partition.state) != before
    batch.undo()
    assert contents(partition.state) == before == contents(load_partition(0))
    # The due times of the heaps are back, too.
    assert partition.state.deadlines.next_due(unix_milliseconds(after(1))) is not None
    partition.run(*commands, now=after(2))
    assert contents(partition.state) == contents(load_partition(0))
