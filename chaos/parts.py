"""The processes of the exchange under test, looked up whenever one is needed: each fault leaves others behind.

Its workers are `serve`'s own and a standby that is started, and started again, here. Which of them is the active
one the database and the log tell together: the lease's epoch, and who has logged to have loaded its books in it.
"""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil
import psycopg

from hosting.embedded.locations import Locations
from hosting.embedded.privileges import child_setup
from loadtools.exchange import OwnExchange

MANAGE_PY = Path(__file__).resolve().parents[1] / "manage.py"
PARTITION = 0
FOUND_SECONDS_MAX = 20.0  # for a part to be there, or gone
POLL_SECONDS = 0.01
STANDBY_POLL_SECONDS = 0.25
STANDBY_STOP_SECONDS = 5.0
CONNECT_SECONDS_MAX = 5

Found = TypeVar("Found")

_LOADED = re.compile(rb" (\d+) matching\.worker: partition \d+: epoch (\d+),")
_EPOCH = "SELECT epoch FROM matching_checkpoint WHERE partition = %s"
_WAITING = """
SELECT count(*) FROM pg_stat_activity AS session JOIN matching_checkpoint AS held ON held.partition = %s
WHERE session.application_name LIKE 'exchange-matching %%'
AND session.application_name <> 'exchange-matching ' || held.owner
"""


class PartMissing(RuntimeError):
    """A part of the exchange is not there, or does not go, within FOUND_SECONDS_MAX."""


async def until(look: Callable[[], Awaitable[Found | None]], what: str) -> Found:
    """What `look` finds, as soon as it finds something. Raises PartMissing, and what `look` raises."""
    deadline = time.monotonic() + FOUND_SECONDS_MAX
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise PartMissing(f"not within {FOUND_SECONDS_MAX:.0f} s: {what}")
        await asyncio.sleep(POLL_SECONDS)


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Parts:
    """Also a context manager: the standby worker runs inside."""

    def __init__(self, exchange: OwnExchange) -> None:
        self.exchange = exchange
        self.locations = Locations(exchange.data_dir)
        self._serve = psutil.Process(exchange.process_id)
        self._standby: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._workers: dict[int, int] = {}  # process id by epoch
        self._log_read = 0  # bytes

    async def __aenter__(self) -> Self:
        self._start_standby()
        self._keeping = asyncio.create_task(self._keep_standby())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._standby is not None:
            self._standby.send_signal(signal.SIGTERM)
            try:
                self._standby.wait(STANDBY_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._standby.kill()
                self._standby.wait()

    async def active_worker(self) -> psutil.Process:
        """Whose epoch it is. Raises PartMissing."""

        async def look() -> psutil.Process | None:
            active = self._worker_of(await self.epoch())
            return next((worker for worker in self._running_workers() if worker.pid == active), None)

        return await until(look, "the worker that holds the lease has loaded its books")

    async def standby_worker(self) -> psutil.Process:
        """The other one. Raises PartMissing."""

        async def look() -> psutil.Process | None:
            active = await self.active_worker()
            return next((worker for worker in self._running_workers() if worker != active), None)

        return await until(look, "a second worker runs")

    async def standby_waits(self) -> None:
        """Return once a worker asks for the lease that another one holds. Raises PartMissing."""

        async def look() -> int:
            return await self.ask(_WAITING, [PARTITION])

        await until(look, "a worker waits for the lease")

    async def epoch(self) -> int:
        """How often the partition has changed hands."""
        return await self.ask(_EPOCH, [PARTITION])

    async def next_epoch(self, epoch: int) -> None:
        """Return once the partition has changed hands since. Raises PartMissing."""

        async def look() -> bool:
            return await self.epoch() > epoch

        await until(look, "another worker has taken over")

    async def api(self) -> list[psutil.Process]:
        """The API's processes, the one that looks after the others first. Raises PartMissing."""
        master = await self._child("exchange_site.asgi:application")
        return [master, *(child for child in master.children() if "spawn_main" in " ".join(child.cmdline()))]

    async def valkey(self) -> psutil.Process:
        """Raises PartMissing."""
        return await self._child("valkey-server")

    async def postgres(self) -> list[psutil.Process]:
        """All its processes, the postmaster first. Raises PartMissing."""
        postmaster = await self._child("bin/postgres")
        return [postmaster, *postmaster.children(recursive=True)]

    async def connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        """A session in the exchange's database. Raises psycopg.Error."""
        return await psycopg.AsyncConnection.connect(
            self.locations.postgres_uri, autocommit=True, connect_timeout=CONNECT_SECONDS_MAX
        )

    async def ask(self, query: str, parameters: list[object]) -> int:
        """One number out of the database; 0 where there is none. Raises psycopg.Error."""
        async with await self.connect() as connection:
            cursor = await connection.execute(query, parameters)
            row = await cursor.fetchone()
        return int(str(row[0])) if row else 0

    async def _child(self, word: str) -> psutil.Process:
        async def look() -> psutil.Process | None:
            return next((child for child in self._children() if word in _command_line(child)), None)

        return await until(look, f"{word} runs")

    def _children(self) -> list[psutil.Process]:
        return [child for child in self._serve.children() if not is_gone(child)]

    def _running_workers(self) -> list[psutil.Process]:
        ours = [psutil.Process(self._standby.pid)] if self._standby and self._standby.poll() is None else []
        return [*ours, *(child for child in self._children() if "run_matching" in _command_line(child))]

    def _worker_of(self, epoch: int) -> int | None:
        with self.exchange.log.open("rb") as log:
            log.seek(self._log_read)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._log_read += len(whole)
        for process, its_epoch in _LOADED.findall(whole):
            self._workers[int(its_epoch)] = int(process)
        return self._workers.get(epoch)

    def _start_standby(self) -> None:
        with self.exchange.log.open("ab") as log:
            self._standby = subprocess.Popen(
                [sys.executable, "-u", str(MANAGE_PY), "run_matching", "--partition", str(PARTITION)],
                cwd=MANAGE_PY.parent,
                env=self.exchange.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # No thread runs here.
                preexec_fn=child_setup(account=None, death_signal=signal.SIGKILL),  # noqa: PLW1509
            )

    async def _keep_standby(self) -> None:
        while True:
            await asyncio.sleep(STANDBY_POLL_SECONDS)
            if self._standby is None or self._standby.poll() is not None:
                self._start_standby()


def _command_line(process: psutil.Process) -> str:
    """Empty where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
