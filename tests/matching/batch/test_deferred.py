"""What waits while a chain of triggered orders goes on, and what goes on.

That it makes no difference to any book: see test_deferred_flows.py.
"""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from matching.batch.batch import Batch
from matching.batch.deferred import DeferredCommands, Ties
from matching.models import DeferredCommand
from matching.recovery import load_partition
from orders.messages import (
    AwaitKey,
    Command,
    GuardAction,
    InspectBooks,
    ListGuards,
    PlaceCommand,
    ReloadInstruments,
    Reply,
    ReplyKind,
)
from orders.models import CancelAfter, ConnectionGuard, Order
from tests.matching.flows import STARTED_AT
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

CHAINED, OTHER = "BTC-USD", "ETH-USD"
OWNER = "owner"  # of the stops


class Chain(Partition):
    """A partition in which a chain of stops of `CHAINED` goes on until `end`."""

    def __init__(self, settings: Settings, *before: Command) -> None:
        super().__init__()
        self._settings = settings
        self.stops = [stop("buy", 110, 1, 50, client_id=OWNER) for _ in range(3)]
        self.run(*before, *self.stops, place("sell", 110, 1, client_id="maker"), now=STARTED_AT)
        settings.WORKER_BATCH_TRIGGERED_MAX = 0
        self.run(place("buy", 110, 1, client_id="taker"), now=STARTED_AT)
        assert self.state.unfinished

    def next(self, *commands: Command) -> tuple[Batch, int]:
        """Run the next batch. Returns it, and how many of the commands it took from the stream."""
        batch = Batch(self.state, {}, STARTED_AT)
        batch.start()
        batch.run_deferred(256)
        taken = next((number for number, one in enumerate(commands) if not batch.run(one)), len(commands))
        self.commit(batch)
        assert contents(load_partition(0)) == contents(self.state)
        assert [row.number for row in DeferredCommand.objects.order_by("number")] == [
            one.number for one in self.state.deferred
        ]
        return batch, taken

    def waits(self, *commands: Command) -> list[bool]:
        """Run a batch, and return for each command whether it was deferred."""
        batch, taken = self.next(*commands)
        assert taken == len(commands)
        deferred = [one.command for one in batch.deferred]
        return [command in deferred for command in commands]

    def end(self) -> Batch:
        """Run the batch in which the chain ends, and what was deferred is carried out."""
        self._settings.WORKER_BATCH_TRIGGERED_MAX = 500
        return self.next()[0]


def replies(batch: Batch) -> dict[str, Reply]:
    return {reply.request_id: reply for reply in batch.replies[REPLY_TO]}


def status(order: PlaceCommand) -> str:
    return Order.objects.get(order_id=order.order_id).status


def entries() -> list[str]:
    """Return the ids of the chained instrument's resting orders, in the order in which they entered."""
    rows = Order.objects.filter(instrument__symbol=CHAINED, status="open")
    return [str(row.order_id) for row in rows.order_by("priority")]


def test_commands_of_the_instrument_wait_and_others_go_on(settings: Settings) -> None:
    resting = place("sell", 200, 5)
    chain = Chain(settings, resting)
    first, last = place("sell", 201, 1, client_id="bob"), place("sell", 201, 1, client_id="eve")
    commands: list[Command] = [first, amend(resting, quantity_lots=6), cancel(resting), last]
    others = [place("buy", 50, 1, instrument=OTHER), place("buy", 50, 1, instrument=OTHER, client_id="bob")]
    assert chain.waits(commands[0], others[0], *commands[1:], others[1]) == [True, False, *[True] * 3, False]
    assert [status(order) for order in others] == ["open"] * 2
    assert not Order.objects.filter(order_id__in=[first.order_id, last.order_id]).exists()
    assert Order.objects.get(order_id=resting.order_id).status == "open"
    chain.end()
    assert entries()[-5:] == [*(one.order_id for one in chain.stops), first.order_id, last.order_id]
    assert (status(resting), status(last)) == ("cancelled", "open")
    assert not chain.state.deferred
    assert chain.waits(place("buy", 20, 1)) == [False]


def test_a_later_command_waits_for_the_deferred_ones_that_a_batch_has_no_room_for(settings: Settings) -> None:
    chain = Chain(settings)
    early = [place("sell", 200, 1) for _ in range(3)]
    chain.next(*early)
    settings.WORKER_BATCH_TRIGGERED_MAX = 500
    late = place("sell", 200, 1)
    batch = Batch(chain.state, {}, STARTED_AT)
    batch.start()
    batch.run_deferred(2)
    assert batch.run(late)
    chain.commit(batch)
    assert (batch.commands, [one.command for one in batch.deferred]) == (2, [late])
    chain.end()
    assert entries()[-4:] == [one.order_id for one in (*early, late)]


def test_a_deferred_command_may_begin_the_next_chain(settings: Settings) -> None:
    chain = Chain(settings)
    again = [place("sell", 120, 1, client_id="maker"), place("buy", 120, 1, client_id="taker")]
    new, last = stop("buy", 120, 1, 60, client_id=OWNER), place("sell", 300, 1)
    chain.next(again[0], new, again[1], last)
    settings.WORKER_BATCH_TRIGGERED_MAX = 3
    batch, _ = chain.next()
    assert (batch.commands, list(chain.state.unfinished)) == (3, [CHAINED])
    chain.end()
    assert entries()[-2:] == [new.order_id, last.order_id]


def test_what_waits_is_bounded_and_then_the_stream_waits(settings: Settings) -> None:
    settings.WORKER_DEFERRED_COMMANDS_MAX = 2
    chain = Chain(settings)
    commands = [place("sell", 200, 1) for _ in range(3)]
    other = place("buy", 50, 1, instrument=OTHER)
    assert chain.next(*commands, other)[1] == 2
    assert chain.next(commands[2], other)[1] == 0
    chain.end()
    assert chain.next(commands[2], other)[1] == 2
    assert entries()[-3:] == [one.order_id for one in commands]


# --- Commands of several instruments ----------------------------------------------------------------------


def test_a_mass_cancel_comes_after_the_clients_earlier_orders_and_before_its_later_ones(
    settings: Settings,
) -> None:
    elsewhere = place("buy", 50, 1, instrument=OTHER)
    chain = Chain(settings, elsewhere)
    early, late = place("sell", 200, 1), place("buy", 50, 1, instrument=OTHER)
    everything, others = cancel_all("client-A"), cancel_all("bob")
    # Another client's order of an instrument in which the mass cancel is to cancel waits for it, too.
    taker = place("sell", 50, 1, instrument=OTHER, client_id="eve")
    assert chain.waits(early, others, everything, taker, late) == [True, False, True, True, True]
    batch = chain.end()
    assert [status(one) for one in (early, elsewhere)] == ["cancelled"] * 2
    assert [status(one) for one in (late, taker)] == ["filled"] * 2
    assert replies(batch)[everything.request_id].kind is ReplyKind.CANCELLED_ALL


@pytest.mark.parametrize("client_id", [OWNER, "bob"])
def test_a_mass_cancel_waits_only_for_a_chain_of_the_clients_orders(
    settings: Settings, client_id: str
) -> None:
    chain = Chain(settings, place("buy", 50, 1, instrument=OTHER, client_id="bob"))
    commands = cancel_all(client_id), cancel_all(client_id, instrument=OTHER)
    assert chain.waits(*commands) == [client_id == OWNER] * 2
    assert chain.waits(cancel_all("bob", instrument=CHAINED)) == [True]


def test_a_switch_covers_the_orders_that_came_before_it(settings: Settings) -> None:
    chain = Chain(settings)
    order = place("sell", 200, 1)
    others, mine = cancel_after("bob", 60), cancel_after("client-A", 60)
    later = cancel_after("client-A", 90)
    assert chain.waits(others, order, mine, later) == [False, True, True, True]
    assert [switch.client_id for switch in CancelAfter.objects.all()] == ["bob"]
    chain.end()
    times = {switch.client_id: switch.cancel_at for switch in CancelAfter.objects.all()}
    assert (times["client-A"] - times["bob"]).total_seconds() == 30


def test_the_same_key_places_one_order_even_if_the_first_one_waits(settings: Settings) -> None:
    chain = Chain(settings)
    first = place("sell", 200, 1, idempotency_key="k")
    again = [
        place("sell", 200, 1, idempotency_key="k"),
        place("sell", 200, 1, idempotency_key="k", instrument=OTHER),
    ]
    other = place("sell", 200, 1, idempotency_key="l", instrument=OTHER)
    question, other_question = (
        AwaitKey(request_id=new_id(), reply_to=REPLY_TO, client_id=first.client_id, idempotency_key=key)
        for key in "kl"
    )
    commands: tuple[Command, ...] = (first, other, *again, question, other_question)
    assert chain.waits(*commands) == [True, False, True, True, True, False]
    found = replies(chain.end())
    assert found[question.request_id].kind is ReplyKind.DONE
    for order in again:
        assert found[order.order_id] == Reply(order.order_id, ReplyKind.DUPLICATE, first.order_id.encode())
    assert status(first) == "open"


def test_commands_that_only_read_wait_for_nothing(settings: Settings) -> None:
    chain = Chain(settings)
    chain.next(place("sell", 200, 1))
    kinds: tuple[Callable[..., Command], ...] = (ListGuards, ReloadInstruments, InspectBooks)
    assert chain.waits(*(kind(request_id=new_id(), reply_to=REPLY_TO) for kind in kinds)) == [False] * 3


# --- Guards -----------------------------------------------------------------------------------------------


def armed(connection_id: str) -> Command:
    return guard_command(GuardAction.ARM, connection_id)


def test_the_end_of_a_guard_comes_after_its_commands_and_cancels_what_they_placed(settings: Settings) -> None:
    connection_id = new_id()
    chain = Chain(settings, armed(connection_id))
    guarded, plain = place("sell", 200, 1, guard=connection_id), place("sell", 201, 1)
    end = guard_command(GuardAction.END, connection_id)
    late = place("buy", 50, 1, guard=connection_id, instrument=OTHER, client_id="bob")
    other = place("buy", 50, 1, instrument=OTHER, client_id="eve")
    assert chain.waits(guarded, plain, end, other, late) == [True, True, True, False, True]
    assert ConnectionGuard.objects.count() == 1
    found = replies(chain.end())
    reasons = Order.objects.filter(client_id="client-A").values_list("status", "reason")
    assert list(reasons) == [("cancelled", "disconnected")] * 2
    assert (found[end.request_id].kind, found[late.order_id].kind) == (ReplyKind.DONE, ReplyKind.FAILED)
    assert not ConnectionGuard.objects.exists()


def test_a_deferred_command_is_refused_if_its_guard_has_ended_meanwhile(settings: Settings) -> None:
    """Its API process shows no sign of life, so the worker ends the guard before all commands."""
    connection_id = new_id()
    chain = Chain(settings, armed(connection_id))
    guarded = place("sell", 200, 1, guard=connection_id)
    chain.next(guarded)
    batch = Batch(chain.state, {}, STARTED_AT)
    batch.start([connection_id])
    chain.commit(batch)
    found = replies(chain.end())
    assert found[guarded.order_id].kind is ReplyKind.FAILED
    assert not Order.objects.filter(order_id=guarded.order_id).exists()


def test_guards_of_other_connections_are_changed_meanwhile(settings: Settings) -> None:
    connection_id = new_id()
    chain = Chain(settings, armed(connection_id))
    assert chain.waits(place("sell", 200, 1, client_id="bob", guard=connection_id)) == [True]
    for action in GuardAction:
        assert chain.waits(guard_command(action, new_id(), "eve")) == [False]
        assert chain.waits(guard_command(action, connection_id)) == [True]


# --- Undo and failures ------------------------------------------------------------------------------------


def test_a_batch_that_defers_and_resumes_is_taken_back(settings: Settings) -> None:
    chain = Chain(settings)
    chain.next(*(place("sell", 200, 1) for _ in range(3)))
    before = contents(chain.state)
    settings.WORKER_BATCH_TRIGGERED_MAX = 500
    batch = Batch(chain.state, {}, STARTED_AT)
    batch.start()
    batch.run_deferred(2)
    batch.run(place("sell", 200, 1))
    assert (len(batch.resumed), len(batch.deferred)) == (2, 1)
    batch.undo()
    assert contents(chain.state) == before == contents(load_partition(0))
    chain.end()
    assert len(chain.state.deferred) == 0


def test_a_deferred_command_that_fails_is_answered(settings: Settings) -> None:
    chain = Chain(settings)
    bad, good = place("sideways", 200, 1), place("sell", 201, 1)
    chain.next(bad, good)
    settings.WORKER_BATCH_TRIGGERED_MAX = 500
    batch = Batch(chain.state, {}, STARTED_AT)
    batch.start()
    with pytest.raises(KeyError, match="sideways"):
        batch.run_deferred(256)
    chain.reload()
    deferred = chain.state.deferred.get(batch.running or 0)
    assert deferred is not None
    assert deferred.command == bad
    batch = Batch(chain.state, {}, STARTED_AT)
    batch.fail_deferred(deferred, "It failed.")
    chain.commit(batch)
    assert replies(batch)[bad.order_id] == Reply(bad.order_id, ReplyKind.FAILED, b"It failed.")
    chain.end()
    assert status(good) == "open"


# --- The structure ----------------------------------------------------------------------------------------


def ties(needs: str, holds: str) -> Ties:
    return Ties(tuple(needs), tuple(holds))


@pytest.mark.parametrize(
    ("chains", "waiting", "ready"),
    [
        ("", ["a a", "b b"], [1, 2]),
        ("a", ["a a", "b b"], [2]),
        ("a", ["a ab", "b b", "c c"], [3]),  # 2 needs what 1 holds
        ("", ["a a", "a a"], [1]),
        ("", ["a bc", "bc b", "c c"], [1]),
        ("", ["a b", "a c"], [1, 2]),
    ],
)
def test_a_command_is_ready_if_nothing_before_it_holds_what_it_needs(
    chains: str, waiting: list[str], ready: list[int]
) -> None:
    deferred = DeferredCommands()
    command: Any = None
    for text in waiting:
        deferred.add(command, ties(*text.split()))
    assert [one.number for one in deferred.ready(chains)] == ready


def test_what_a_copy_holds_is_its_own() -> None:
    deferred = DeferredCommands()
    command: Any = None
    for _ in range(2):
        deferred.add(command, ties("a", "a"))
    copy = deferred.copy()
    copy.remove(1)
    assert "a" in copy.held
    copy.remove(2)
    assert "a" not in copy.held
    assert copy.add(command, ties("a", "a")).number == 3
    assert ("a" in deferred.held, len(deferred), len(copy)) == (True, 2, 1)
