"""Partition 0 in the test's own process. It matches and commits batches as the worker does."""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import uuid_utils

from matching import engine
from matching.batch.batch import Batch, keys_of
from matching.batch.effects import SIDE_NAMES
from matching.commit import checkpoint
from matching.commit.checkpoint import Lease
from matching.commit.session import CommitSession
from matching.commit.statement import CommitResult
from matching.recovery import load_books
from orders.messages import CancelCommand, Command, PlaceCommand
from tests.engine.flows import Shape, flow

REPLY_TO = "tests"


def new_id() -> str:
    return str(uuid_utils.uuid7())


def place(
    side: str,
    price_ticks: int,
    quantity_lots: int,
    *,
    client_id: str = "client-A",
    instrument: str = "BTC-USD",
    idempotency_key: str | None = None,
    order_id: str | None = None,
) -> PlaceCommand:
    """Return a limit order, or a market order if the price is 0."""
    return PlaceCommand(
        order_id=order_id or new_id(),
        reply_to=REPLY_TO,
        client_id=client_id,
        instrument=instrument,
        side=side,
        order_type="limit" if price_ticks else "market",
        price_ticks=price_ticks,
        quantity_lots=quantity_lots,
        idempotency_key=idempotency_key,
    )


def cancel(order: PlaceCommand) -> CancelCommand:
    return CancelCommand(
        request_id=new_id(),
        reply_to=REPLY_TO,
        client_id=order.client_id,
        instrument=order.instrument,
        order_id=order.order_id,
    )


class Partition:
    """Partition 0 with its books and its lease."""

    def __init__(self) -> None:
        self.lease = acquire()
        self.books = load_books(0)
        self.session = CommitSession.of_this_thread()
        self._batches = 0

    def run(self, *commands: Command, now: datetime | None = None) -> tuple[Batch, CommitResult]:
        """Match the commands and commit them as one batch."""
        batch = Batch(self.books, self.session.find_keys(keys_of(commands)), now or datetime.now(UTC))
        for command in commands:
            batch.run(command)
        self._batches += 1
        self.lease, result = self.session.commit(batch, self.lease, f"{self._batches}-0")
        return batch, result

    def state_hashes(self) -> dict[str, str]:
        return {symbol: market.book.state_hash() for symbol, market in self.books.items()}


def acquire(owner: str = "tests") -> Lease:
    lease = checkpoint.acquire(0, owner)
    assert lease is not None
    return lease


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
