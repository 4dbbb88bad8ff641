"""Random flows: it makes no difference to any book or answer that commands were deferred."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.test import override_settings

from base.times import unix_milliseconds
from matching.batch.batch import Batch, Key
from matching.batch.market_book import MarketBook, PartitionState
from matching.engine import OrderBook
from orders.messages import Command, PlaceCommand
from tests.matching.flows import InstructedFlow
from tests.matching.partition import REPLY_TO, cancel_after, cancel_all, contents, stop
from tests.simulation.database import make_instrument

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
KEYS = 40
SEGMENTS, COMMANDS = 6, 60
SEEDS = range(50)
BATCHES_MAX = 10_000


class ClientWideFlow(InstructedFlow):
    """Has many commands that are about several instruments, and orders with the same keys."""

    def _command(self) -> Command:
        random = self._random
        dice = random.random()
        if dice < 0.04:
            narrowed = random.choice(({}, {}, {"instrument": random.choice(self._instruments)}))
            return cancel_all(random.choice(self._clients), **narrowed)
        if dice < 0.08:
            return cancel_after(random.choice(self._clients), random.randint(0, 12))
        if dice < 0.14:
            return self._guard()
        if dice < 0.4:
            return stop(
                random.choice(("buy", "sell")),
                self._trigger_price(),
                self._quantity(),
                client_id=random.choice(self._clients),
                instrument=random.choice(self._instruments),
                order_id=self._uuid(),
            )
        command = super()._command()
        if isinstance(command, PlaceCommand) and random.random() < 0.3:
            key = f"key-{random.randrange(KEYS)}"
            guard = random.choice((*self._connections, None))
            return msgspec.structs.replace(command, idempotency_key=key, guard=guard)
        return command


class Outcome(NamedTuple):
    """What a flow has done. All ids but those of requests are the same in each run of a seed."""

    state: dict[str, Any]
    events: dict[str, list[Any]]  # of each book, in their order
    replies: list[tuple[int, Any]]  # with the number of the command
    deferred: int


def run_flow(seed: int, *, commands_max: int) -> Outcome:
    state = PartitionState()
    for number, symbol in enumerate(SYMBOLS, 1):
        state.books[symbol] = MarketBook(make_instrument(number, symbol), OrderBook())
    events: defaultdict[str, list[Any]] = defaultdict(list)
    known: dict[Key, str] = {}
    numbers: dict[str, int] = {}
    replies, deferred = [], 0
    for now, commands in ClientWideFlow(seed, instruments=SYMBOLS).segments(SEGMENTS, COMMANDS):
        numbers |= {command.request_id: len(numbers) + count for count, command in enumerate(commands)}
        for batch in batches(state, known, commands, now, commands_max):
            deferred += len(batch.deferred)
            for market, its_events, _ in batch.events:
                events[market.instrument.symbol] += its_events
            replies += [
                (numbers[reply.request_id], (reply.kind, reply.body)) for reply in batch.replies[REPLY_TO]
            ]
    return Outcome(contents(state), dict(events), sorted(replies), deferred)


def batches(
    state: PartitionState, known: dict[Key, str], commands: list[Command], now: datetime, commands_max: int
) -> Iterator[Batch]:
    """Run batches until all commands are carried out, and nothing waits or is due."""
    left = commands
    for _ in range(BATCHES_MAX):
        is_due = state.deadlines.next_due(unix_milliseconds(now)) is not None
        if not (left or state.unfinished or state.deferred or is_due):
            return
        batch = Batch(state, dict(known), now)
        batch.start()
        batch.run_deferred(commands_max)
        some = left[:commands_max]
        done = next((number for number, command in enumerate(some) if not batch.run(command)), len(some))
        left = left[done:]
        for order in batch.orders.values():
            if order.command.idempotency_key is not None:
                known[order.command.client_id, order.command.idempotency_key] = order.command.order_id
        yield batch
    raise AssertionError(f"the commands have no end: {left[:3]}")


def test_the_books_and_answers_are_those_of_a_stream_that_waits() -> None:
    deferred = 0
    for seed in SEEDS:
        expected = run_flow(seed, commands_max=256)
        assert expected.deferred == 0
        for room, commands_max in ((0, 7), (3, 2), (100, 2), (100, 50)):
            with override_settings(WORKER_BATCH_TRIGGERED_MAX=1, WORKER_DEFERRED_COMMANDS_MAX=room):
                found = run_flow(seed, commands_max=commands_max)
            assert (found.deferred > 0) <= (room > 0)
            assert found._replace(deferred=0) == expected, f"seed {seed}, {room=}, {commands_max=}"
            deferred += found.deferred
    assert deferred > 10 * len(SEEDS)
