"""The faults. Each is a context manager: entering it injects the fault, leaving it ends the fault.

It yields the time, by the event loop's clock, from which the recovery is measured. For a killed
part, and for a frozen one that another can replace, this is the time of the fault. For a part that
nothing can replace, it is the time at which the part works again.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from typing import NamedTuple

import psutil
from redis.asyncio import Redis

from chaos.parts import Parts, is_gone, until

_WORKER_FROZEN_SECONDS = (3.0, 8.0)
_SERVER_FROZEN_SECONDS = (1.0, 6.0)
_LOCKED_SECONDS = 3.0

_END_SESSIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_LOCK_ORDERS = "LOCK TABLE orders_order IN SHARE ROW EXCLUSIVE MODE"
_LOCK_CHECKPOINT = "SELECT FROM matching_checkpoint FOR UPDATE"

Struck = AbstractAsyncContextManager[float]


class Fault(NamedTuple):
    name: str
    strike: Callable[[Parts, Random], Struck]


@asynccontextmanager
async def _kill_worker(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes([await parts.active_worker()])


@asynccontextmanager
async def _kill_standby(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes([await parts.standby_worker()])


@asynccontextmanager
async def _terminate_worker(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes([await parts.active_worker()], signal.SIGTERM)


@asynccontextmanager
async def _freeze_worker(parts: Parts, random: Random) -> AsyncIterator[float]:
    worker = await parts.active_worker()
    async with _frozen([worker], random.uniform(*_WORKER_FROZEN_SECONDS)) as frozen_at:
        yield frozen_at


@asynccontextmanager
async def _kill_api(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes([random.choice(await parts.api())])


@asynccontextmanager
async def _freeze_api(parts: Parts, random: Random) -> AsyncIterator[float]:
    """Freeze one process. Its clients wait, and the others are served."""
    async with _frozen([random.choice((await parts.api())[1:])], random.uniform(*_SERVER_FROZEN_SECONDS)):
        pass
    yield _now()


@asynccontextmanager
async def _terminate_api(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes((await parts.api())[:1], signal.SIGTERM)


@asynccontextmanager
async def _kill_valkey(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes([await parts.valkey()])


@asynccontextmanager
async def _freeze_valkey(parts: Parts, random: Random) -> AsyncIterator[float]:
    async with _frozen([await parts.valkey()], random.uniform(*_SERVER_FROZEN_SECONDS)):
        pass
    yield _now()


@asynccontextmanager
async def _empty_valkey(parts: Parts, random: Random) -> AsyncIterator[float]:
    async with Redis.from_url(parts.locations.redis_url) as redis:
        await redis.flushall()
    yield _now()


@asynccontextmanager
async def _kill_postgres(parts: Parts, random: Random) -> AsyncIterator[float]:
    yield await _end_processes(await parts.postgres())


@asynccontextmanager
async def _freeze_postgres(parts: Parts, random: Random) -> AsyncIterator[float]:
    async with _frozen(await parts.postgres(), random.uniform(*_SERVER_FROZEN_SECONDS)):
        pass
    yield _now()


@asynccontextmanager
async def _end_sessions(parts: Parts, random: Random) -> AsyncIterator[float]:
    await parts.query_number(_END_SESSIONS, [])
    yield _now()


@asynccontextmanager
async def _hold_lock(parts: Parts, random: Random, *, lock: str) -> AsyncIterator[float]:
    async with await parts.connect() as connection, connection.transaction():
        await connection.execute(lock)
        await asyncio.sleep(_LOCKED_SECONDS)
    yield _now()


@asynccontextmanager
async def _kill_several(parts: Parts, random: Random) -> AsyncIterator[float]:
    """Kill two or three parts at once. The most frequent pair is a worker and Valkey."""
    worker, standby = await parts.active_worker(), await parts.standby_worker()
    valkey, postgres, api = await parts.valkey(), await parts.postgres(), (await parts.api())[:1]
    together = random.choice(
        [
            [worker, valkey],
            [worker, valkey],
            [worker, standby],
            [worker, *postgres],
            [valkey, *postgres],
            [valkey, *api],
            [worker, standby, valkey],
        ]
    )
    yield await _end_processes(together)


FAULTS = (
    Fault("kill -9 the active worker", _kill_worker),
    Fault("kill -9 the standby worker", _kill_standby),
    Fault("SIGTERM the active worker", _terminate_worker),
    Fault("SIGSTOP the active worker, 3 to 8 s", _freeze_worker),
    Fault("kill -9 an API process", _kill_api),
    Fault("SIGSTOP an API process, 1 to 6 s", _freeze_api),
    Fault("SIGTERM the API", _terminate_api),
    Fault("kill -9 Valkey", _kill_valkey),
    Fault("SIGSTOP Valkey, 1 to 6 s", _freeze_valkey),
    Fault("FLUSHALL", _empty_valkey),
    Fault("kill -9 PostgreSQL, all of it", _kill_postgres),
    Fault("SIGSTOP PostgreSQL, all of it, 1 to 6 s", _freeze_postgres),
    Fault("pg_terminate_backend, every session", _end_sessions),
    Fault("the orders table locked, 3 s", partial(_hold_lock, lock=_LOCK_ORDERS)),
    Fault("the checkpoint's row locked, 3 s", partial(_hold_lock, lock=_LOCK_CHECKPOINT)),
    Fault("kill -9 several at once", _kill_several),
)


def fault_sequence(seed: int, only: str = "") -> Iterator[tuple[Fault, Random]]:
    """Return faults without end: all kinds in random order, then again in another order.

    Each fault comes with a random generator for its details. `only` selects faults by a part of
    their names. At least one must match.
    """
    kinds = [fault for fault in FAULTS if only in fault.name]
    random = Random(seed)
    while True:
        for fault in random.sample(kinds, len(kinds)):
            yield fault, Random(random.random())


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _end_processes(
    processes: Sequence[psutil.Process], number: signal.Signals = signal.SIGKILL
) -> float:
    """Signal all processes, and wait until all have ended. Return the time of the signal.

    Raises PartMissing.
    """
    signalled_at = _now()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)

    async def are_gone() -> bool:
        return all(map(is_gone, processes))

    await until(are_gone, f"{processes} gone")
    return signalled_at


@asynccontextmanager
async def _frozen(processes: Sequence[psutil.Process], seconds: float) -> AsyncIterator[float]:
    """Freeze processes for `seconds`, even if the block ends earlier."""

    def thaw() -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    thawing = asyncio.get_running_loop().call_later(seconds, thaw)
    try:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield _now()
        await asyncio.sleep(max(0.0, thawing.when() - _now()))
    finally:
        thawing.cancel()
        thaw()
