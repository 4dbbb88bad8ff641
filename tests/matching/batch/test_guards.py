"""Guards of connections: what ends with them, and which commands they keep out."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pytest_django.fixtures import Settings

from matching.batch.batch import Batch
from orders.messages import Command, GuardAction, ListGuards, Reply, ReplyKind
from orders.models import ConnectionGuard, Order
from tests.matching.partition import (
    REPLY_TO,
    Partition,
    amend,
    cancel,
    cancel_after,
    cancel_all,
    contents,
    guard_command,
    new_id,
    place,
    stop,
)

pytestmark = pytest.mark.usefixtures("instruments")

ARM, DISARM, END = GuardAction.ARM, GuardAction.DISARM, GuardAction.END
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def partition() -> Partition:
    return Partition()


@pytest.fixture
def connection_id() -> str:
    return new_id()


def kinds(batch: Batch) -> list[ReplyKind]:
    return [reply.kind for reply in batch.replies[REPLY_TO]]


def the_reply(batch: Batch) -> Reply:
    (reply,) = batch.replies[REPLY_TO]
    return reply


def ends_of(client_id: str) -> set[tuple[str, str | None]]:
    return set(Order.objects.filter(client_id=client_id).values_list("status", "reason"))


def stored_guards() -> dict[str, list[str]]:
    return {str(guard.connection_id): guard.client_ids for guard in ConnectionGuard.objects.all()}


def test_all_orders_of_the_guarded_clients_end_with_the_guard(
    partition: Partition, connection_id: str
) -> None:
    for client_id in ("client-A", "client-B", "client-C"):
        partition.run(
            place("buy", 100, 1, client_id=client_id),
            place("sell", 200, 1, client_id=client_id, instrument="ETH-USD"),
            stop("buy", 300, 1, client_id=client_id),
        )
    partition.run(guard_command(ARM, connection_id), guard_command(ARM, connection_id, "client-B"))
    assert stored_guards() == {connection_id: ["client-A", "client-B"]}
    batch, _ = partition.run(guard_command(END, connection_id))
    assert kinds(batch) == [ReplyKind.DONE]
    assert ends_of("client-A") == ends_of("client-B") == {("cancelled", "disconnected")}
    assert ends_of("client-C") == {("open", None), ("pending", None)}
    assert stored_guards() == {}


def test_the_end_of_an_unknown_guard_changes_nothing(partition: Partition, connection_id: str) -> None:
    partition.run(place("buy", 100, 1), guard_command(ARM, new_id()))
    before = contents(partition.state)
    batch, _ = partition.run(guard_command(END, connection_id))
    assert kinds(batch) == [ReplyKind.DONE]
    assert contents(partition.state) == before


def test_arming_again_is_harmless(partition: Partition, connection_id: str) -> None:
    arm = guard_command(ARM, connection_id)
    batch, _ = partition.run(arm, arm, guard_command(ARM, connection_id, may_create=False))
    assert kinds(batch) == [ReplyKind.DONE] * 3
    assert stored_guards() == {connection_id: ["client-A"]}


def test_a_client_that_is_no_longer_guarded_keeps_its_orders(
    partition: Partition, connection_id: str
) -> None:
    partition.run(
        guard_command(ARM, connection_id),
        place("buy", 100, 1),
        guard_command(DISARM, connection_id, may_create=False),
    )
    batch, _ = partition.run(place("buy", 101, 1, guard=connection_id), guard_command(END, connection_id))
    assert kinds(batch) == [ReplyKind.DONE]  # the order's reply is made after the commit
    assert ends_of("client-A") == {("open", None)}
    late, _ = partition.run(place("buy", 102, 1, guard=connection_id))
    assert the_reply(late).kind is ReplyKind.FAILED


@pytest.mark.parametrize("action", [ARM, DISARM])
def test_a_guard_that_has_ended_is_not_made_again(
    partition: Partition, connection_id: str, action: GuardAction
) -> None:
    partition.run(guard_command(ARM, connection_id), guard_command(END, connection_id))
    batch, _ = partition.run(guard_command(action, connection_id, may_create=False))
    assert the_reply(batch).kind is ReplyKind.FAILED
    assert stored_guards() == {}


def test_no_command_of_a_connection_is_carried_out_after_the_end(
    partition: Partition, connection_id: str
) -> None:
    resting = place("buy", 100, 2)
    partition.run(resting)
    before = contents(partition.state)
    commands: list[Any] = [
        place("buy", 99, 1),
        cancel(resting),
        amend(resting, quantity_lots=1),
        cancel_all("client-A"),
        cancel_after("client-A", 5),
    ]
    batch, _ = partition.run(*(msgspec.structs.replace(command, guard=connection_id) for command in commands))
    assert kinds(batch) == [ReplyKind.FAILED] * len(commands)
    assert contents(partition.state) == before
    accepted, _ = partition.run(*commands)  # without the guard, all of them are carried out
    assert ReplyKind.FAILED not in kinds(accepted)
    assert contents(partition.state) != before


def test_a_refused_order_does_not_use_up_its_key(partition: Partition, connection_id: str) -> None:
    refused = place("buy", 100, 1, idempotency_key="key", terms=1, guard=connection_id)
    repeated = place("buy", 100, 1, idempotency_key="key", terms=1)
    batch, _ = partition.run(refused, repeated)
    assert the_reply(batch).kind is ReplyKind.FAILED
    assert str(Order.objects.get().order_id) == repeated.order_id


def test_orders_of_a_guarded_connection_are_matched(partition: Partition, connection_id: str) -> None:
    batch, _ = partition.run(
        guard_command(ARM, connection_id), place("buy", 100, 1, guard=connection_id), place("sell", 100, 1)
    )
    assert len(batch.trades) == 1


def test_a_process_can_list_its_guards(partition: Partition) -> None:
    own, others = [new_id(), new_id()], new_id()
    partition.run(
        *(guard_command(ARM, connection_id) for connection_id in own),
        guard_command(ARM, others, reply_to="another process"),
    )
    batch, _ = partition.run(ListGuards(request_id=new_id(), reply_to=REPLY_TO))
    assert msgspec.json.decode(the_reply(batch).body) == own
    partition.run(*(guard_command(END, connection_id) for connection_id in own))
    batch, _ = partition.run(ListGuards(request_id=new_id(), reply_to=REPLY_TO))
    assert msgspec.json.decode(the_reply(batch).body) == []


def test_guards_are_taken_back_with_their_batch(partition: Partition, connection_id: str) -> None:
    other = new_id()
    partition.run(guard_command(ARM, connection_id), place("buy", 100, 1), stop("buy", 300, 1))
    before = contents(partition.state)
    batch = partition.match(
        guard_command(ARM, other, "client-B"),
        guard_command(DISARM, connection_id, may_create=False),
        guard_command(ARM, connection_id, "client-B", may_create=False),
        guard_command(ARM, connection_id, may_create=False),
        guard_command(END, connection_id),
    )
    assert contents(partition.state) != before
    batch.undo()
    assert contents(partition.state) == before


def test_guards_outlive_the_worker(partition: Partition, connection_id: str) -> None:
    partition.run(
        guard_command(ARM, connection_id),
        guard_command(ARM, connection_id, "client-B"),
        guard_command(ARM, new_id(), reply_to="another process"),
        place("buy", 100, 1),
    )
    before = contents(partition.state)
    partition.reload()
    assert contents(partition.state) == before
    partition.run(place("buy", 101, 1, guard=connection_id), guard_command(END, connection_id))
    assert ends_of("client-A") == {("cancelled", "disconnected")}


def test_guards_of_silent_processes_end_before_the_first_command(
    partition: Partition, connection_id: str
) -> None:
    partition.run(guard_command(ARM, connection_id), place("buy", 100, 1))
    ((batch, _),) = partition.run_all(
        place("sell", 100, 1, client_id="client-B"),
        place("buy", 100, 1, guard=connection_id),
        now=NOW,
        ending=[connection_id],
    )
    assert batch.trades == []
    assert kinds(batch) == [ReplyKind.FAILED]
    assert ends_of("client-A") == {("cancelled", "disconnected")}
    assert ends_of("client-B") == {("open", None)}


@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize("by_command", [True, False])
def test_many_orders_end_in_pieces_between_which_nothing_else_happens(
    partition: Partition, connection_id: str, settings: Settings, by_command: bool, reload: bool
) -> None:
    settings.WORKER_BATCH_CANCELS_MAX = 2
    clients = ("client-A", "client-B")
    partition.run(*(guard_command(ARM, connection_id, client_id) for client_id in clients))
    partition.run(*(place("buy", 100, 1, client_id=client_id) for client_id in clients for _ in range(3)))
    late: list[Command] = [
        place("buy", 100, 1, guard=connection_id),
        place("buy", 100, 1, client_id="client-C"),
    ]
    ends: list[Command] = [guard_command(END, connection_id)] if by_command else []
    ending = [] if by_command else [connection_id]
    batches = partition.run_all(*ends, *late, now=NOW, ending=ending, reload=reload)
    assert [len(batch.changes) for batch, _ in batches] == [2, 2, 2, 0]
    assert [kinds(batch) for batch, _ in batches[:-1]] == [[], [], []]
    last = [ReplyKind.DONE, ReplyKind.FAILED] if by_command else [ReplyKind.FAILED]
    assert kinds(batches[-1][0]) == last
    assert ends_of("client-A") == ends_of("client-B") == {("cancelled", "disconnected")}
    assert ends_of("client-C") == {("open", None)}
    assert stored_guards() == {}


def test_triggered_orders_enter_before_a_guard_ends(
    partition: Partition, connection_id: str, settings: Settings
) -> None:
    """As before a mass cancel: what the client had sent before the end takes part in matching."""
    settings.WORKER_BATCH_TRIGGERED_MAX = 1
    partition.run(
        guard_command(ARM, connection_id),
        *(place("sell", price, 1, client_id="client-B") for price in (100, 101, 102)),
        *(stop("buy", 100, 1, guard=connection_id) for _ in range(2)),
    )
    partition.run_all(place("buy", 100, 1, client_id="client-C"), guard_command(END, connection_id), now=NOW)
    assert ends_of("client-A") == {("filled", None)}
