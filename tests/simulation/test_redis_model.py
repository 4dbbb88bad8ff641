"""Comparison of the model of Redis with a real server: the same calls must give the same answers.

The results of the simulation are true of the exchange only as far as its models are right.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from base.redis import RedisSession, connect_redis
from marketdata.book import mirror_keys
from matching.batch.batch import Batch
from matching.batch.market_book import MarketBook, PartitionState
from matching.commit.checkpoint import LeaseLost
from matching.engine import OrderBook
from matching.publish.mirror import MirrorWriter
from matching.worker.command_stream import CommandStream
from orders.gateway.admission import (
    COUNT_CANCEL,
    COUNT_ORDER,
    ORDER,
    OTHER,
    AdmissionScript,
    Applicant,
    Verdict,
)
from orders.messages import heartbeat_key
from tests.engine.flows import SHAPES
from tests.matching.partition import random_commands
from tests.patience import PATIENCE_MILLISECONDS, PATIENCE_SECONDS
from tests.simulation.process import Faults, Process
from tests.simulation.redis_links import SimulatedAdmission, SimulatedSession
from tests.simulation.redis_model import Client, Server


@pytest.fixture(params=["redis", "model"])
def connect(request: pytest.FixtureRequest, redis: Any) -> Callable[[], Any]:
    """Return a function that makes clients of one empty Redis."""
    if request.param == "redis":
        return connect_redis
    server: list[Server] = []

    def client() -> Client:
        if not server:
            server.append(Server())
        return Client(Process("test", Random(0), Faults()), server[0])

    return client


def test_commands_after_a_position_are_read_in_order(connect: Callable[[], Any]) -> None:
    async def scenario() -> None:
        client = connect()
        session = _session(client)
        stream = CommandStream(client, session, 0)
        ids = [await client.xadd("exchange:{0}:commands", {b"c": b"%d" % number}) for number in range(5)]
        texts = [entry_id.decode() for entry_id in ids]
        entries = await stream.read("0-0", count=3, wait_seconds=0.01)
        assert [(entry.entry_id, entry.payload) for entry in entries] == list(
            zip(texts[:3], [b"0", b"1", b"2"], strict=True)
        )
        assert [entry.payload for entry in await stream.read(texts[2], count=9, wait_seconds=0.01)] == [
            b"3",
            b"4",
        ]
        assert await stream.read(texts[4], count=9, wait_seconds=0.01) == []
        await stream.trim(texts[1])
        assert await stream.length() == 3
        await stream.aclose()
        await client.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("ahead", [True, False])
def test_new_ids_come_after_the_position(connect: Callable[[], Any], ahead: bool) -> None:
    """Entries appended after `align` are read even if the server's clock is behind."""

    async def scenario() -> None:
        client = connect()
        session = _session(client)
        stream = CommandStream(client, session, 0)
        position = "99999999999999-7" if ahead else "5-1"
        await stream.align(position)
        added = await client.xadd("exchange:{0}:commands", {b"c": b"x"})
        entries = await stream.read(position, count=9, wait_seconds=0.01)
        assert [entry.entry_id.encode() for entry in entries] == [added]
        await stream.aclose()
        await client.aclose()

    asyncio.run(scenario())


def _session(client: Any) -> Any:
    return SimulatedSession(client) if isinstance(client, Client) else RedisSession(client)


def _admission(client: Any) -> Any:
    if isinstance(client, Client):
        return SimulatedAdmission(client, 0)
    return AdmissionScript(client, 0)


def test_admission_applies_queue_bounds_and_requires_a_heartbeat(
    connect: Callable[[], Any], settings: Settings
) -> None:
    """The queue takes orders up to one bound, and cancels up to a higher one, in their order.

    Requests that are only counted are accepted even if the queue is full.
    """
    settings.RATE_LIMIT = None
    settings.ORDER_QUEUE_LENGTH_MAX = 2
    settings.CANCEL_QUEUE_LENGTH_MAX = 4
    kinds = [ORDER, OTHER, ORDER, OTHER, COUNT_ORDER, ORDER, OTHER, OTHER, COUNT_CANCEL]
    absent = [
        Verdict.TAKEN if kind in (COUNT_ORDER, COUNT_CANCEL) else Verdict.NOBODY_MATCHING for kind in kinds
    ]

    async def scenario() -> list[list[Verdict]]:
        client = connect()
        script = _admission(client)
        await script.connect()
        applicants = [Applicant(kind, None, b"%d" % number) for number, kind in enumerate(kinds)]
        verdicts = []
        for milliseconds in (None, PATIENCE_MILLISECONDS):
            if milliseconds:
                await client.set(heartbeat_key(0), "owner", px=milliseconds)
            verdicts.append([answer.verdict for answer in await script.admit(applicants)])
        stream = CommandStream(client, _session(client), 0)
        entries = await stream.read("0-0", count=9, wait_seconds=0.01)
        assert [entry.payload for entry in entries] == [b"0", b"1", b"3", b"6"]
        await stream.aclose()
        await client.set(heartbeat_key(0), "owner", px=1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await client.get(heartbeat_key(0)) is not None:  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.001)
        verdicts.append([answer.verdict for answer in await script.admit(applicants)])
        await script.disconnect()
        await client.aclose()
        return verdicts

    taken, full = Verdict.TAKEN, Verdict.QUEUE_FULL
    assert asyncio.run(scenario()) == [
        absent,
        [taken, taken, full, taken, taken, full, taken, full, taken],
        absent,
    ]


def test_a_mirror_follows_moves_and_can_be_rebuilt(connect: Callable[[], Any], instruments: Any) -> None:
    """Moves keep the mirror equal to the book. A repeated move or an older epoch changes nothing."""

    async def scenario() -> None:
        client = connect()
        session = _session(client)
        writer = MirrorWriter(client)
        writer.epoch = 2
        await writer.load_script()
        market = MarketBook(instruments["BTC-USD"], OrderBook())
        state = PartitionState({"BTC-USD": market})
        await writer.rebuild(market)
        for command in random_commands(SHAPES[0], seed=3, commands=120, instruments=("BTC-USD",)):
            batch = Batch(state, {}, datetime.now(UTC))
            batch.run(command)
            for change in batch.book_changes:
                move = writer.move_command(change)
                assert await session.run(move, move) == [1, 0]  # the same move cannot be applied twice
            assert not await writer.find_lost([market])
        moved = await _mirror(client)
        await writer.rebuild(market)
        assert await _mirror(client) == moved
        writer.epoch = 1
        with pytest.raises(LeaseLost):
            await writer.rebuild(market)
        assert await _mirror(client) == moved
        await session.disconnect()
        await client.aclose()

    asyncio.run(scenario())


async def _mirror(client: Any) -> tuple[Any, ...]:
    keys = mirror_keys(0, "BTC-USD")
    if isinstance(client, Client):
        sets = [sorted(client.server.sets.get(key, {})) for key in (keys.bids, keys.asks)]
    else:
        sets = [
            sorted(member.decode() for member in await client.zrange(key, 0, -1))
            for key in (keys.bids, keys.asks)
        ]
    return int(await client.get(keys.sequence)), *sets
