"""Guards from the API process to the worker, on real servers: armed, kept, lost and ended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pytest_django.fixtures import Settings
from redis.asyncio import Redis

from base.database import read_database
from base.redis import RedisSession, connect_redis
from base.refusals import InvalidRequest, Unavailable
from instruments.directory import InstrumentDirectory
from instruments.models import Instrument
from orders.gateway import OrderGateway, current_gateway
from orders.gateway.link import RedisLink
from orders.guards import Guard, GuardKeeper
from orders.messages import GuardAction, ReloadInstruments, Reply, ReplyKind, life_key, stream_key
from orders.models import ConnectionGuard, Order
from tests.matching.live import live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import guard_command, new_id, place
from tests.patience import PATIENCE_SECONDS
from tests.redis_relay import RedisRelay

pytestmark = pytest.mark.usefixtures("instruments", "redis")

POLL_SECONDS = 0.02
DISCONNECTED = ("cancelled", "disconnected")


class Connection:
    """A connection with a guard. It counts how often it was told that the guard is lost."""

    def __init__(self) -> None:
        self.lost = 0
        self.guard = Guard(self._lose)

    def has_fence(self) -> bool:
        """Return whether a command that is sent now carries the guard."""
        return self.guard.carried == self.guard.connection_id

    def _lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def keeping(gateway: OrderGateway) -> AsyncIterator[GuardKeeper]:
    """Yield a keeper, as each API process has one."""
    async with connect_redis() as redis:
        keeper = GuardKeeper(gateway, InstrumentDirectory(), RedisSession(redis))
        try:
            yield keeper
        finally:
            await keeper.aclose()


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition, which may read the database, holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await read_database(condition):  # noqa: ASYNC110 - the database sends no event
            await asyncio.sleep(POLL_SECONDS)


def ends_of(client_id: str = "client-A") -> set[tuple[str, str | None]]:
    return set(Order.objects.filter(client_id=client_id).values_list("status", "reason"))


def guards_in(partition: int) -> dict[str, list[str]]:
    rows = ConnectionGuard.objects.filter(partition=partition)
    return {str(guard.connection_id): guard.client_ids for guard in rows}


async def place_resting(gateway: OrderGateway, guard: str | None = None) -> Reply:
    (reply,) = await submit(with_reply_to(gateway.process_id, place("buy", 100, 1), guard=guard))
    return reply


def test_orders_end_with_their_connection_and_no_later_command_is_taken() -> None:
    async def scenario() -> tuple[Reply, Reply]:
        async with live_worker() as gateway, keeping(gateway) as keeper:
            connection = Connection()
            assert not connection.has_fence()
            await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
            assert connection.has_fence()
            taken = await place_resting(gateway, connection.guard.carried)
            keeper.end(connection.guard)
            await keeper.wait_for_end(connection.guard)
            await until(lambda: ends_of() == {DISCONNECTED})
            late = await place_resting(gateway, connection.guard.carried)
            with pytest.raises(Unavailable):
                await keeper.set_guarded(connection.guard, "client-B", enabled=True, partitions=[0])
            return taken, late

    taken, late = run_scenario(scenario())
    assert (taken.kind, late.kind) == (ReplyKind.PLACED, ReplyKind.FAILED)
    assert guards_in(0) == {}


def test_commands_carry_a_guard_that_is_being_armed_but_none_that_was_refused() -> None:
    async def scenario() -> None:
        gateway = current_gateway()
        async with keeping(gateway) as keeper:  # no worker is running
            connection = Connection()
            arming = asyncio.create_task(
                keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
            )
            await asyncio.sleep(0)
            assert connection.has_fence()
            with pytest.raises(Unavailable):
                await arming
            assert not connection.has_fence()
            async with live_worker():
                await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
                assert connection.has_fence()

    run_scenario(scenario())


def test_a_connection_that_ends_while_no_worker_runs_is_ended_later() -> None:
    async def scenario() -> None:
        gateway = current_gateway()
        async with keeping(gateway) as keeper:
            connection = Connection()
            async with live_worker():
                await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
                await place_resting(gateway, connection.guard.carried)
            keeper.end(connection.guard)
            await asyncio.sleep(0)
            async with live_worker():
                await until(lambda: ends_of() == {DISCONNECTED})
                await until(lambda: guards_in(0) == {})

    run_scenario(scenario())


def test_the_worker_ends_the_guards_of_a_process_that_shows_no_life(settings: Settings) -> None:
    connection_id = new_id()

    async def scenario() -> Reply:
        async with live_worker() as gateway:  # and no keeper
            await submit(guard_command(GuardAction.ARM, connection_id, reply_to=gateway.process_id))
            await place_resting(gateway)
            settings.GUARD_SILENT_SECONDS_MAX = 0.2
            await until(lambda: ends_of() == {DISCONNECTED})
            return await place_resting(gateway, connection_id)

    assert run_scenario(scenario()).kind is ReplyKind.FAILED


@pytest.mark.parametrize("is_fenced", [True, False], ids=["fenced", "control"])
def test_an_order_that_comes_late_from_a_process_without_life_is_refused(
    settings: Settings, is_fenced: bool
) -> None:
    """The order is on its way when the guard ends, and arrives afterwards.

    The control: an order that does not name its guard is taken.
    """

    async def scenario() -> None:
        async with live_worker() as direct, connect_redis() as redis:
            await direct.ready()
            relay = RedisRelay()
            settings.REDIS_URL = relay.url
            async with relay.open(), OrderGateway(RedisLink()) as gateway, keeping(gateway) as keeper:
                connection = Connection()
                await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
                guard = connection.guard.carried
                sent = [
                    with_reply_to(gateway.process_id, place("buy", 100, 1), guard=carried)
                    for carried in (guard, guard if is_fenced else None)
                ]
                await gateway.submit(sent[0], partition=0, client_id=None)
                relay.hold()
                late = asyncio.create_task(gateway.submit(sent[1], partition=0, client_id=None))
                settings.GUARD_SILENT_SECONDS_MAX = 0.2
                await until(lambda: ends_of() == {DISCONNECTED})
                added = await _entries_added(redis)
                relay.release()
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await _entries_added(redis) == added:  # noqa: ASYNC110 - Redis sends no event
                        await asyncio.sleep(POLL_SECONDS)
                after = with_reply_to(direct.process_id, place("buy", 100, 1, client_id="client-B"))
                await direct.submit(after, partition=0, client_id=None)
                taken = set() if is_fenced else {("open", None)}
                assert await read_database(ends_of) == {DISCONNECTED} | taken
                await asyncio.gather(late, return_exceptions=True)

    run_scenario(scenario())


async def _entries_added(redis: Redis) -> int:
    """Return how many commands were ever appended to the stream."""
    information: dict[str, int] = await redis.xinfo_stream(stream_key(0))
    return information["entries-added"]


def test_a_worker_that_takes_over_ends_the_guards_of_dead_processes(settings: Settings) -> None:
    async def scenario() -> None:
        async with live_worker() as gateway:
            await submit(guard_command(GuardAction.ARM, new_id(), reply_to=gateway.process_id))
            await place_resting(gateway)
        settings.GUARD_SILENT_SECONDS_MAX = 0.2
        async with live_worker():
            await until(lambda: ends_of() == {DISCONNECTED})

    run_scenario(scenario())


def test_a_connection_is_told_if_a_worker_has_ended_its_guard() -> None:
    async def scenario() -> tuple[int, int]:
        async with live_worker() as gateway, keeping(gateway) as keeper:
            ended, kept = Connection(), Connection()
            for connection in (ended, kept):
                await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
            await submit(
                guard_command(GuardAction.END, ended.guard.connection_id, reply_to=gateway.process_id)
            )
            await keeper._check_guards()
            await keeper._check_guards()
            return ended.lost, kept.lost

    assert run_scenario(scenario()) == (1, 0)


def test_a_guard_without_a_connection_is_ended() -> None:
    """An arming may reach the worker after the end, if the connection to Redis was lost between them."""

    async def scenario() -> None:
        async with live_worker() as gateway, keeping(gateway) as keeper:
            await keeper.set_guarded(Connection().guard, "client-B", enabled=True, partitions=[0])
            await submit(guard_command(GuardAction.ARM, new_id(), reply_to=gateway.process_id))
            await place_resting(gateway)
            await keeper._check_guards()
            await until(lambda: ends_of() == {DISCONNECTED})
            assert await read_database(lambda: list(guards_in(0).values())) == [["client-B"]]

    run_scenario(scenario())


def test_signs_of_life_keep_changing_while_there_are_guards(settings: Settings) -> None:
    settings.GUARD_RENEW_SECONDS = 0.01

    async def scenario() -> None:
        async with live_worker() as gateway, keeping(gateway) as keeper, connect_redis() as redis:

            async def see_signs(count: int) -> None:
                seen: set[bytes | str | None] = set()
                while len(seen) < count:
                    seen.add(await redis.get(life_key(0, gateway.process_id)))
                    await asyncio.sleep(POLL_SECONDS)

            async with asyncio.timeout(PATIENCE_SECONDS):
                connection = Connection()
                await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
                await see_signs(5)
                keeper.end(connection.guard)
                await asyncio.wait(keeper._watches.values())
                # It begins again with the next guard.
                await keeper.set_guarded(Connection().guard, "client-A", enabled=True, partitions=[0])
                await see_signs(5)

    run_scenario(scenario())


def test_a_guard_follows_to_a_partition_that_gets_its_first_instrument(settings: Settings) -> None:
    settings.GUARD_RENEW_SECONDS = 0.05

    async def scenario() -> None:
        async with live_worker(0) as gateway, live_worker(1), keeping(gateway) as keeper:
            connection = Connection()
            connection_id = connection.guard.connection_id
            await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
            await read_database(Instrument.objects.filter(symbol="ETH-USD").update, partition=1)
            await until(lambda: guards_in(1) == {connection_id: ["client-A"]})
            keeper.end(connection.guard)
            await until(lambda: guards_in(0) == guards_in(1) == {})

    run_scenario(scenario())


def test_a_guard_is_armed_in_a_new_partition_before_it_ends_there() -> None:
    async def scenario() -> None:
        async with live_worker(0) as gateway, live_worker(1), keeping(gateway) as keeper:
            connection = Connection()
            await keeper.set_guarded(connection.guard, "client-A", enabled=True, partitions=[0])
            await read_database(Instrument.objects.filter(symbol="ETH-USD").update, partition=1)
            keeper._instruments = InstrumentDirectory()  # which knows of the move
            to = gateway.process_id
            for command in (
                ReloadInstruments(request_id=new_id(), reply_to=to),
                with_reply_to(to, place("buy", 5, 1, instrument="ETH-USD")),
            ):
                await gateway.submit(command, partition=1, client_id=None)
            assert await read_database(ends_of) == {("open", None)}
            keeper.end(connection.guard)
            await until(lambda: ends_of() == {DISCONNECTED})

    run_scenario(scenario())


def test_a_connection_guards_a_limited_number_of_clients(settings: Settings) -> None:
    settings.STREAM_GUARDED_CLIENTS_MAX = 2

    async def scenario() -> None:
        async with live_worker() as gateway, keeping(gateway) as keeper:
            guard = Connection().guard
            for client_id in ("client-A", "client-B", "client-A"):
                await keeper.set_guarded(guard, client_id, enabled=True, partitions=[0])
            with pytest.raises(InvalidRequest):
                await keeper.set_guarded(guard, "client-C", enabled=True, partitions=[0])
            await keeper.set_guarded(guard, "client-B", enabled=False, partitions=[0])
            await keeper.set_guarded(guard, "client-C", enabled=True, partitions=[0])
            assert await read_database(guards_in, 0) == {guard.connection_id: ["client-A", "client-C"]}

    run_scenario(scenario())


def test_a_process_has_a_limited_number_of_guards(settings: Settings) -> None:
    settings.STREAM_GUARDED_CONNECTIONS_MAX = 1

    async def scenario() -> None:
        async with live_worker() as gateway, keeping(gateway) as keeper:
            guard = Connection().guard
            await keeper.set_guarded(guard, "client-A", enabled=True, partitions=[0])
            with pytest.raises(Unavailable):
                await keeper.set_guarded(Connection().guard, "client-B", enabled=True, partitions=[0])
            keeper.end(guard)
            await keeper.wait_for_end(guard)
            await keeper.set_guarded(Connection().guard, "client-B", enabled=True, partitions=[0])

    run_scenario(scenario())
