"""Finds the processes of the exchange under test. Each look-up is new, because faults replace them.

There are two workers: a child of `serve`, and another one that this module starts and restarts. The
active one is found by the lease's epoch in the database and by the log, which names the process
that loaded the books in this epoch.
"""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, TypeVar

import psutil
import psycopg

from hosting.embedded.locations import Locations
from hosting.embedded.privileges import child_setup
from hosting.embedded.processes import command_line
from loadtools.exchange import OwnExchange

MANAGE_PY = Path(__file__).resolve().parents[1] / "manage.py"
_PARTITION = 0
_FOUND_SECONDS_MAX = 20.0  # Time in which a part must appear or end.
_POLL_SECONDS = 0.05
_STANDBY_POLL_SECONDS = 0.25
_STANDBY_STOP_SECONDS = 5.0
_CONNECT_SECONDS_MAX = 5

_Found = TypeVar("_Found")

_LOADED = re.compile(rb" (\d+) matching\.worker\.live_books: partition \d+: epoch (\d+),")
_EPOCH = "SELECT epoch FROM matching_checkpoint WHERE partition = %s"
_WAITING = """
SELECT count(*) FROM pg_stat_activity AS session JOIN matching_checkpoint AS held ON held.partition = %s
WHERE session.application_name LIKE 'exchange-matching %%'
AND session.application_name <> 'exchange-matching ' || held.owner
"""


class PartMissing(RuntimeError):
    """A part of the exchange did not appear, or did not end, within _FOUND_SECONDS_MAX."""


async def until(look: Callable[[], Awaitable[_Found | None]], condition: str) -> _Found:
    """Call `look` until it finds something, and return the finding.

    Raises PartMissing, and any exception of `look`.
    """
    deadline = time.monotonic() + _FOUND_SECONDS_MAX
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise PartMissing(f"not within {_FOUND_SECONDS_MAX:.0f} s: {condition}")
        await asyncio.sleep(_POLL_SECONDS)


def is_gone(process: psutil.Process) -> bool:
    """Return whether a process has ended. A zombie has ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Parts:
    """The parts of an exchange. Also a context manager, in which the standby worker runs."""

    def __init__(self, exchange: OwnExchange) -> None:
        self.exchange = exchange
        self.locations = Locations(exchange.data_dir)
        self._serve = psutil.Process(exchange.process_id)
        self._standby: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._workers: dict[int, int] = {}  # Process ids by epoch.
        self._log_read = 0  # Bytes of the log that were read.

    async def __aenter__(self) -> Self:
        self._start_standby()
        self._keeping = asyncio.create_task(self._keep_standby())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._standby is not None:
            self._standby.send_signal(signal.SIGTERM)
            try:
                self._standby.wait(_STANDBY_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._standby.kill()
                self._standby.wait()

    async def active_worker(self) -> psutil.Process:
        """Return the worker that holds the lease. Raises PartMissing."""

        async def look() -> psutil.Process | None:
            active = self._worker_of(await self.epoch())
            return next((worker for worker in self._running_workers() if worker.pid == active), None)

        return await until(look, "the worker that holds the lease has loaded its books")

    async def standby_worker(self) -> psutil.Process:
        """Return the worker that waits for the lease. Raises PartMissing."""

        async def look() -> psutil.Process | None:
            active = await self.active_worker()
            return next((worker for worker in self._running_workers() if worker != active), None)

        return await until(look, "a second worker runs")

    async def standby_waits(self) -> None:
        """Return once a worker waits for the lease of another one. Raises PartMissing."""

        async def look() -> int:
            return await self.query_number(_WAITING, [_PARTITION])

        await until(look, "a worker waits for the lease")

    async def epoch(self) -> int:
        """Return the lease's epoch, which counts its owners."""
        return await self.query_number(_EPOCH, [_PARTITION])

    async def next_epoch(self, epoch: int) -> None:
        """Return once the lease has another owner than in `epoch`. Raises PartMissing."""

        async def look() -> bool:
            return await self.epoch() > epoch

        await until(look, "another worker has taken over")

    async def api(self) -> list[psutil.Process]:
        """Return the API's processes, with their supervisor first. Raises PartMissing."""
        master = await self._find_child("exchange_site.asgi:application")
        return [master, *(child for child in master.children() if "spawn_main" in command_line(child.pid))]

    async def valkey(self) -> psutil.Process:
        """Return Valkey's process. Raises PartMissing."""
        return await self._find_child("valkey-server")

    async def postgres(self) -> list[psutil.Process]:
        """Return PostgreSQL's processes, with the postmaster first. Raises PartMissing."""
        postmaster = await self._find_child("bin/postgres")
        return [postmaster, *postmaster.children(recursive=True)]

    async def connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        """Open a session in the exchange's database. Raises psycopg.Error."""
        return await psycopg.AsyncConnection.connect(
            self.locations.postgres_uri, autocommit=True, connect_timeout=_CONNECT_SECONDS_MAX
        )

    async def query_number(self, query: str, parameters: list[object]) -> int:
        """Query one number, 0 if there is no row. Raises psycopg.Error."""
        async with await self.connect() as connection:
            cursor = await connection.execute(query, parameters)
            row = await cursor.fetchone()
        return int(str(row[0])) if row else 0

    async def _find_child(self, word: str) -> psutil.Process:
        async def look() -> psutil.Process | None:
            return next((child for child in self._children() if word in command_line(child.pid)), None)

        return await until(look, f"{word} runs")

    def _children(self) -> list[psutil.Process]:
        return [child for child in self._serve.children() if not is_gone(child)]

    def _running_workers(self) -> list[psutil.Process]:
        ours = [psutil.Process(self._standby.pid)] if self._standby and self._standby.poll() is None else []
        return [*ours, *(child for child in self._children() if "run_matching" in command_line(child.pid))]

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
                [sys.executable, "-u", str(MANAGE_PY), "run_matching", "--partition", str(_PARTITION)],
                cwd=MANAGE_PY.parent,
                env=self.exchange.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # preexec_fn is safe: the process has no other threads.
                preexec_fn=child_setup(account=None, death_signal=signal.SIGKILL),  # noqa: PLW1509
            )

    async def _keep_standby(self) -> None:
        while True:
            await asyncio.sleep(_STANDBY_POLL_SECONDS)
            if self._standby is None or self._standby.poll() is not None:
                self._start_standby()
