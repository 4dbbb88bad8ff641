"""`manage.py audit` of mirrors and workers that are right, wrong, late or missing."""

import asyncio
from collections.abc import Callable
from io import StringIO
from itertools import count
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from pytest_django.fixtures import Settings
from redis import Redis

from base.database import read_database
from base.redis import connect_redis
from marketdata.book import mirror_keys
from marketdata.models import BookSequence
from matching.operations.audit import live, run_audit
from matching.operations.audit.live import Mirror, Skipped, audit_mirrors, audit_workers
from matching.operations.inspection import _compare_states
from orders.messages import BookState, heartbeat_key
from orders.models import Order
from tests.engine.flows import SHAPES
from tests.matching.live import live_worker, run_scenario, submit
from tests.matching.partition import Partition, place, random_commands

pytestmark = pytest.mark.usefixtures("instruments")

BTC = mirror_keys(0, "BTC-USD")
AUDITS_BESIDE_TRADING = 5
AUDITS_MAX = 50
HEARTBEAT_SECONDS = 60


def audit(*options: str) -> str:
    output = StringIO()
    call_command("audit", *options, stdout=output)
    return output.getvalue()


def states_not_ok() -> dict[str, str]:
    """Return the state of each check whose state is not `ok`."""
    return {result.name: result.state for result in run_audit() if result.state != "ok"}


def run_beside_a_worker(check: Callable[[], Any]) -> Any:
    """Return the result of `check`, run while a worker that has orders waits for commands."""

    async def scenario() -> Any:
        async with live_worker() as gateway:
            commands = random_commands(SHAPES[1], seed=3, commands=200)
            to = gateway.process_id
            await submit(*(msgspec.structs.replace(command, reply_to=to) for command in commands))
            return await read_database(check)

    return run_scenario(scenario())


def test_mirrors_and_live_books_are_compared_with_the_database(redis: Redis) -> None:
    output = run_beside_a_worker(lambda: audit("--require-live"))
    assert "mirrors      ok " in output
    assert "workers      ok " in output
    assert "overdue      ok " in output
    assert "skipped" not in output
    assert redis.zcard(BTC.bids) > 0


def test_a_mirrored_level_that_differs_from_the_database_is_found(redis: Redis) -> None:
    def check() -> tuple[dict[str, str], list[str], dict[str, str]]:
        best: Any = redis.zrange(BTC.bids, -1, -1)[0]
        redis.zrem(BTC.bids, best)
        found = states_not_ok(), audit_mirrors().breaches
        redis.zadd(BTC.bids, {best: int(best.split(b":")[0])})
        redis.zadd(BTC.asks, {"999999:1:1": 999_999})
        return *found, states_not_ok()

    found, (breach,), found_asks = run_beside_a_worker(check)
    assert found == found_asks == {"mirrors": "1 breach"}
    assert breach.startswith("BTC-USD: bids at sequence ")


@pytest.mark.usefixtures("redis")
def test_a_worker_that_has_other_orders_is_found() -> None:
    def check() -> tuple[dict[str, str], list[str]]:
        Order.objects.filter(instrument__symbol="BTC-USD", status="open").update(client_id="somebody-else")
        return states_not_ok(), audit_workers().breaches

    found, (breach,) = run_beside_a_worker(check)
    assert found == {"workers": "1 breach"}
    assert breach.startswith("BTC-USD: not the same orders at sequence ")


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("step", [-1, 1])
def test_a_database_at_another_sequence_is_found(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is restored under a running exchange is at another sequence."""
    if step > 0:  # The mirror could still get there. One that is ahead is found by a second look.
        monkeypatch.setattr(live, "MIRROR_SECONDS_MAX", 0.1)

    def check() -> dict[str, str]:
        BookSequence.objects.filter(instrument__symbol="BTC-USD").update(sequence=F("sequence") + step)
        return states_not_ok()

    assert run_beside_a_worker(check) == {
        "sequences": "1 breach",
        "mirrors": "1 breach",
        "workers": "1 breach",
    }


@pytest.mark.usefixtures("redis")
def test_no_breach_is_found_while_trading_goes_on() -> None:
    async def scenario() -> int:
        async with live_worker() as gateway:
            placed = 0
            over = asyncio.Event()

            async def trade() -> None:
                nonlocal placed
                for seed in count():
                    for command in random_commands(SHAPES[0], seed=seed, commands=100):
                        await submit(msgspec.structs.replace(command, reply_to=gateway.process_id))
                        placed += 1
                        if over.is_set():
                            return

            trading = asyncio.create_task(trade())
            beside_trading = 0
            try:
                for _ in range(AUDITS_MAX):
                    before = placed
                    await read_database(audit)
                    beside_trading += placed > before + 1
                    if beside_trading == AUDITS_BESIDE_TRADING:
                        break
            finally:
                over.set()
                await trading
            return beside_trading

    assert run_scenario(scenario()) == AUDITS_BESIDE_TRADING


# --- without a worker --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("redis")
def test_mirrors_and_workers_that_are_missing_are_skipped_unless_they_are_required() -> None:
    Partition().run(place("buy", 100, 5))
    assert "skipped: mirrors, workers, overdue" in audit()
    with pytest.raises(CommandError, match="could be checked: mirrors, workers, overdue") as failed:
        audit("--require-live")
    assert failed.value.returncode == 1


def test_the_database_is_checked_without_redis(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    Partition().run(place("buy", 100, 5))
    output = audit()
    assert "skipped: Redis does not answer" in output
    assert "skipped: partition 0: " in output
    assert "no breach in 1 orders" in output


def test_the_mirror_of_a_stopped_worker_is_compared_if_it_has_the_databases_sequence(redis: Redis) -> None:
    Partition().run(place("buy", 100, 5))
    redis.set(BTC.sequence, 1)
    redis.zadd(BTC.bids, {"100:6:1": 100})
    (breach,) = audit_mirrors().breaches
    assert breach == (
        "BTC-USD: bids at sequence 1: 0.00000005 at 1 (orders: 1) in the database, "
        "0.00000006 at 1 (orders: 1) in Redis"
    )


@pytest.mark.parametrize("mirrored", [None, 0])
def test_a_mirror_that_its_worker_does_not_update_is_found(
    mirrored: int | None, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MIRROR_SECONDS_MAX", 0.1)
    Partition().run(place("buy", 100, 5))
    for symbol in ("ETH-USD", "SOL-USD"):
        redis.set(mirror_keys(0, symbol).sequence, 0)
    if mirrored is not None:
        redis.set(BTC.sequence, mirrored)
    assert audit_mirrors().breaches == []  # the control: no worker keeps the mirror
    redis.set(heartbeat_key(0), "tests", ex=HEARTBEAT_SECONDS)
    (breach,) = audit_mirrors().breaches
    assert "in Redis, 0 s after the database was at 1" in breach


def test_a_mirror_that_is_ahead_of_the_database_is_found(redis: Redis) -> None:
    Partition().run(place("buy", 100, 5))
    redis.set(BTC.sequence, 2)
    assert audit_mirrors().breaches == ["BTC-USD: sequence 1 in the database, 2 in Redis before"]


def test_books_that_are_never_at_the_same_sequence_are_not_reported_to_differ(redis: Redis) -> None:
    """Both change between two readings, and have different sequences in each reading."""
    partition = Partition()
    mirror = Mirror(partition.books["BTC-USD"].instrument)
    redis.set(heartbeat_key(0), "tests", ex=HEARTBEAT_SECONDS)
    with asyncio.Runner() as runner:
        client = connect_redis()
        for mirrored in (1, 3):
            partition.run(place("buy", 100, 5), place("buy", 100, 5))
            redis.set(BTC.sequence, mirrored)
            if mirrored == 1:
                assert mirror.compare(client, runner, last=False) is None
        with pytest.raises(Skipped, match="trading went on"):
            mirror.compare(client, runner, last=True)
        runner.run(client.aclose())


# The sequences of the database, of the worker, and of the database again, in the order of reading;
# then "differ", or "" if the books are equal, or None if that is unknown.
READINGS = {
    "the worker went on": ((3, 5, 5), ""),
    "trading goes on": ((3, 4, 6), None),
    "the database went back": ((3, 5, 4), "differ"),
    "the worker is behind": ((3, 2, 3), "differ"),
}


@pytest.mark.parametrize("reading", READINGS)
def test_sequences_that_go_back_are_not_taken_for_trading(reading: str) -> None:
    sequences, verdict = READINGS[reading]
    before, worker, stored = ({"BTC-USD": BookState(sequence, "hash")} for sequence in sequences)
    decided: dict[str, str] = {}
    undecided = _compare_states(before, worker, stored, decided)
    assert bool(undecided) == (verdict is None)
    assert bool(decided.get("BTC-USD")) == bool(verdict)
