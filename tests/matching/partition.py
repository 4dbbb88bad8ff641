"""Partition 0 in the test's own process. It matches and commits batches as the worker does."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import uuid_utils

from base.times import unix_milliseconds
from matching import engine
from matching.batch.batch import Batch, keys_of
from matching.batch.effects import SIDE_NAMES
from matching.batch.market_book import MarketBook, PartitionState
from matching.commit import checkpoint
from matching.commit.checkpoint import Lease
from matching.commit.session import CommitSession
from matching.commit.statement import CommitResult
from matching.models import Checkpoint
from matching.recovery import load_partition
from orders.messages import (
    AmendCommand,
    CancelAfterCommand,
    CancelAllCommand,
    CancelCommand,
    CancelledOrders,
    Command,
    GuardAction,
    GuardCommand,
    PlaceCommand,
    ReplyKind,
)
from tests.engine.comparison import orders_by_client
from tests.engine.flows import Shape, flow

REPLY_TO = "tests"
BATCHES_MAX = 10_000


def new_id() -> str:
    return str(uuid_utils.uuid7())


def place(
    side: str,
    price_ticks: int,
    quantity_lots: int,
    *,
    client_id: str = "client-A",
    instrument: str = "BTC-USD",
    order_id: str | None = None,
    **others: Any,
) -> PlaceCommand:
    """Return a limit order, or a market order if the price is 0, unless `order_type` is given."""
    order = {
        "order_type": "limit" if price_ticks else "market",
        "time_in_force": "gtc" if price_ticks else "ioc",
        **others,
    }
    return PlaceCommand(
        order_id=order_id or new_id(),
        reply_to=REPLY_TO,
        client_id=client_id,
        instrument=instrument,
        side=side,
        price_ticks=price_ticks,
        quantity_lots=quantity_lots,
        **order,
    )


def stop(
    side: str, trigger_price_ticks: int, quantity_lots: int, price_ticks: int = 0, **others: Any
) -> PlaceCommand:
    """Return a stop order, or a stop-limit order if it has a price."""
    return place(
        side,
        price_ticks,
        quantity_lots,
        trigger_price_ticks=trigger_price_ticks,
        **{"order_type": "stop_limit" if price_ticks else "stop", **others},
    )


def cancel(order: PlaceCommand) -> CancelCommand:
    return CancelCommand(
        request_id=new_id(),
        reply_to=REPLY_TO,
        client_id=order.client_id,
        instrument=order.instrument,
        order_id=order.order_id,
    )


def amend(order: PlaceCommand, **changes: Any) -> AmendCommand:
    return AmendCommand(
        request_id=new_id(),
        reply_to=REPLY_TO,
        client_id=order.client_id,
        instrument=order.instrument,
        order_id=order.order_id,
        **changes,
    )


def cancel_all(client_id: str, **narrowed: str) -> CancelAllCommand:
    return CancelAllCommand(request_id=new_id(), reply_to=REPLY_TO, client_id=client_id, **narrowed)


def cancel_after(client_id: str, timeout_seconds: int) -> CancelAfterCommand:
    return CancelAfterCommand(
        request_id=new_id(), reply_to=REPLY_TO, client_id=client_id, timeout_seconds=timeout_seconds
    )


def guard_command(
    action: GuardAction,
    connection_id: str,
    client_id: str = "client-A",
    *,
    may_create: bool = True,
    reply_to: str = REPLY_TO,
) -> GuardCommand:
    return GuardCommand(
        request_id=new_id(),
        reply_to=reply_to,
        connection_id=connection_id,
        action=action,
        client_id=client_id,
        may_create=may_create,
    )


def pieces_that_follow(batch: Batch, commands: Collection[Command]) -> list[Command]:
    """Return the commands that go on with those of these mass cancels that the batch has answered.

    The desk sends the next piece. If a new worker does not know the cancel any more, the client sends
    it again.
    """
    replies = {reply.request_id: reply for reply in batch.replies.get(REPLY_TO, [])}
    pieces: list[Command] = []
    for command in commands:
        reply = replies.get(command.request_id)
        if isinstance(command, CancelAllCommand) and reply is not None:
            if reply.kind is ReplyKind.FAILED:
                pieces.append(msgspec.structs.replace(command, request_id=new_id(), continues=None))
            elif msgspec.json.decode(reply.body, type=CancelledOrders).is_more:
                first_id = command.continues or command.request_id
                pieces.append(msgspec.structs.replace(command, request_id=new_id(), continues=first_id))
    return pieces


class Partition:
    """Partition 0 with its books, deadlines and lease."""

    def __init__(self) -> None:
        self.lease = acquire()
        self.state = load_partition(0)
        self.session = CommitSession.of_this_thread()
        self._batches = 0

    @property
    def books(self) -> dict[str, MarketBook]:
        return self.state.books

    def reload(self) -> None:
        """Forget everything but the lease, and load the partition from the database."""
        self.state = load_partition(0)

    def match(self, *commands: Command, now: datetime | None = None) -> Batch:
        """Return a batch with the commands, which is not committed."""
        batch = Batch(self.state, self.session.find_keys(keys_of(commands)), now or datetime.now(UTC))
        batch.start()
        batch.run_deferred(BATCHES_MAX)
        for command in commands:
            assert batch.run(command), f"there was no room for {command}"
        return batch

    def run(self, *commands: Command, now: datetime | None = None) -> tuple[Batch, CommitResult]:
        """Match the commands and commit them as one batch."""
        batch = self.match(*commands, now=now)
        return batch, self.commit(batch)

    def run_all(self, *commands: Command, **options: Any) -> list[tuple[Batch, CommitResult]]:
        """Run and commit the batches of `batches`."""
        return list(self.batches(*commands, **options))

    def batches(
        self,
        *commands: Command,
        now: datetime,
        commands_max: int = 256,
        reload: bool = False,
        ending: Collection[str] = (),
    ) -> Iterator[tuple[Batch, CommitResult]]:
        """Run batches until all commands are carried out, and nothing more is due.

        Each batch is committed before it is yielded. With `reload`, the partition is loaded again
        before each batch. `ending` are the connections whose guards end.
        """
        left, sent = list(commands), dict[str, Command]()
        for number in range(BATCHES_MAX):
            ending = [connection_id for connection_id in ending if connection_id in self.state.guards]
            if number and not left and not ending and not self.has_due_work(now):
                return
            if reload:
                self.reload()
            some = left[:commands_max]
            batch = Batch(self.state, self.session.find_keys(keys_of(some)), now)
            batch.start(ending)
            batch.run_deferred(commands_max)
            done = next((number for number, command in enumerate(some) if not batch.run(command)), len(some))
            sent |= {command.request_id: command for command in some[:done]}
            left[:done] = pieces_that_follow(batch, sent.values())
            yield batch, self.commit(batch)
        raise AssertionError(f"the commands have no end: {left[:3]}")

    def has_due_work(self, now: datetime) -> bool:
        is_due = self.state.deadlines.next_due(unix_milliseconds(now)) is not None
        return is_due or bool(self.state.unfinished or self.state.deferred)

    def commit(self, batch: Batch) -> CommitResult:
        self._batches += 1
        self.lease, result = self.session.commit(batch, self.lease, f"{self._batches}-0")
        return result

    def state_hashes(self) -> dict[str, str]:
        return {symbol: market.book.state_hash() for symbol, market in self.books.items()}


def contents(state: PartitionState) -> dict[str, Any]:
    """Return everything that a state holds, to compare two of them."""
    return {
        "books": {
            symbol: (market.book.state_hash(), market.book.last_price_ticks, orders_by_client(market.orders))
            for symbol, market in state.books.items()
        },
        "expiries": state.deadlines._expiries,
        "switches": state.deadlines._switches,
        "unfinished": set(state.unfinished),
        "deferred": [(one.number, one.command) for one in state.deferred],
        "guards": state.guards._guards,
        "guards of processes": {
            process_id: set(state.guards.of_process(process_id)) for process_id in state.guards.process_ids
        },
    }


def acquire(owner: str = "tests") -> Lease:
    lease = checkpoint.acquire(0, owner)
    assert lease is not None
    return lease


def expire_lease() -> None:
    """Let the leases of all partitions run out."""
    Checkpoint.objects.update(lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))


def random_commands(
    shape: Shape, *, seed: int, commands: int, instruments: tuple[str, ...] = ("BTC-USD", "ETH-USD")
) -> Iterator[Command]:
    """Yield a random flow of the engine's tests as commands of the stream.

    A seed always gives the same commands. No order id is placed twice.
    """
    random = Random(seed)
    placed: dict[str, PlaceCommand] = {}
    for command in flow(shape, seed=seed, commands=commands):
        if isinstance(command, engine.CancelOrder):
            yield cancel(placed[command.order_id])
        elif command.order_id not in placed:
            placed[command.order_id] = place(
                SIDE_NAMES[command.side],
                command.price_ticks,
                command.quantity_lots,
                client_id=command.client_id,
                instrument=random.choice(instruments),
                order_id=str(UUID(int=random.getrandbits(128), version=4)),
            )
            yield placed[command.order_id]
