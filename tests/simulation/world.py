"""One run: two workers, two API processes, clients, faults for a while, quiet, and then the checks."""

import asyncio
import contextlib
from collections.abc import Coroutine
from random import Random
from typing import Any, NamedTuple

from django.conf import settings
from django.test import override_settings

from marketdata.book import mirror_keys
from marketdata.messages import decode_batch
from matching.worker.worker import MatchingWorker
from tests.simulation.checks import Breach, check_database, check_told, mirror_of, require
from tests.simulation.clients import SimulatedClient, Told
from tests.simulation.controls import Control
from tests.simulation.database import Database, traded
from tests.simulation.faults import SeededFaults
from tests.simulation.process import Process, ProcessDied
from tests.simulation.processes import ApiProcess, worker_of
from tests.simulation.redis_model import Server
from tests.simulation.virtual_loop import Deadlock, VirtualLoop

SYMBOLS = ("BTC-USD", "ETH-USD")
WORKERS = 2
API_PROCESSES = 2
CLIENTS = 4
REQUESTS_MAX = 8  # of one client
FAULTY_SECONDS = 6.0
QUIET_SECONDS_MAX = 60.0  # for the exchange to become whole again, and for all clients to know
RESTART_SECONDS_MAX = 0.8
POLL_SECONDS = 0.1
# Short times, so that keys are found taken again and again, and a mirror without room is tried again. Low bounds,
# so that orders meet them, batches end early, commits have several messages and mirrors several pieces.
LIMITS = {
    "WORKER_LOOK_UP_SECONDS": 0.3,
    "MIRROR_RETRY_SECONDS": 0.5,
    "MIRROR_LEVELS_PER_COMMAND": 2,
    "MARKET_MESSAGE_CHANGES_MAX": 2,
    "WORKER_BATCH_TRADES_MAX": 3,
    "ORDER_TRADES_MAX": 3,
    "INSTRUMENT_OPEN_ORDERS_MAX": 9,
    "BOOK_LEVELS_PER_SIDE_MAX": 3,
    "BOOK_LEVELS_IMPROVING_MAX": 1,
}


class Summary(NamedTuple):
    """What happened in a run; the same for the same seed."""

    faults: int
    acknowledged: int
    trades: int
    seconds: float  # of the virtual clock


def simulate(seed: int, control: Control | None = None) -> Summary:
    """Run one seed. Raises Breach where a promise was broken."""
    loop = VirtualLoop()
    world = World(seed, control)
    loop.set_exception_handler(world.on_task_failure)
    try:
        with override_settings(**LIMITS):
            loop.run_until_complete(world.run())
    except Deadlock:
        raise Breach("everybody waits for ever") from None
    finally:
        world.end(loop)
        loop.close()
    return Summary(
        faults=world.faults.count,
        acknowledged=len(world.told.acknowledged) + len(world.told.cancelled),
        trades=len(world.database.trades),
        seconds=round(loop.now, 6),
    )


class World:
    """Everything there is."""

    def __init__(self, seed: int, control: Control | None) -> None:
        self.random = Random(seed)
        self.control = control or Control("none")
        self.instruments = [traded(number, symbol) for number, symbol in enumerate(SYMBOLS, 1)]
        self.database = Database(self.instruments, without=self.control.name)
        self.database.cuts_off = self.random.random() < 0.5
        self.faults = SeededFaults(self, self.random, against=self.control.against)
        self.told = Told()
        self.published_trades: set[str] = set()
        self.apis: list[ApiProcess | None] = [None] * API_PROCESSES
        self.workers: list[MatchingWorker | None] = [None] * WORKERS
        self.processes: list[Process] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ended = False
        self.failures: list[str] = []

    async def run(self) -> None:
        self.server = Server(self.hear)
        supervisors = [self.supervise_worker(number) for number in range(WORKERS)]
        supervisors += [self.supervise_api(number) for number in range(API_PROCESSES)]
        for supervisor in supervisors:
            self.start(supervisor)
        clients = [
            self.start(
                SimulatedClient(number, self.random, self.choose_api, self.told).run(
                    self.random.randint(1, REQUESTS_MAX), self.instruments
                )
            )
            for number in range(CLIENTS)
        ]
        await asyncio.sleep(FAULTY_SECONDS)
        self.faults.end()
        await self.become_whole(clients)
        check_told(self.told, self.database)
        check_database(self.database)
        require(not self.failures, f"a task failed: {self.failures}")
        require(not self.server.went_back, "a mirror went back")
        missing = self.published_trades - {trade.trade_id for trade in self.database.trades}
        require(not missing, f"trades were published and are not committed: {missing}")

    async def become_whole(self, clients: list[asyncio.Task[Any]]) -> None:
        """All clients know, nothing waits, and mirror and live books are the database's."""
        deadline = self.now() + QUIET_SECONDS_MAX
        wrong = "clients wait"
        while self.now() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            for client in clients:
                if client.done():
                    client.result()
            if all(client.done() for client in clients):
                wrong = self.unlike_the_database()
                if not wrong:
                    return
        raise Breach(f"not whole {QUIET_SECONDS_MAX:.0f} s after the last fault: {wrong}")

    def unlike_the_database(self) -> str:
        """What is not the database's book; '' where everything is."""
        if self.server.entries:
            return f"{len(self.server.entries)} commands wait"
        owner = next((one for one in self.workers if one and one.owner == self.database.owner), None)
        if owner is None:
            return "nobody owns the partition"
        for symbol, market in self.database.load_books().items():
            keys = mirror_keys(0, symbol)
            sequence = self.server.get(keys.sequence)
            bids, asks = (sorted(self.server.sets.get(key, {})) for key in (keys.bids, keys.asks))
            if (sequence and int(sequence), bids, asks) != mirror_of(self.database, symbol):
                return f"the mirror of {symbol}"
            live = owner.books.by_symbol.get(symbol)
            if live is None or live.book.state_hash() != market.book.state_hash():
                return f"the worker's book of {symbol}"
        return ""

    async def supervise_worker(self, number: int) -> None:
        while not self.ended:
            process = self.begin_process(f"worker-{number}-{len(self.processes)}")
            worker = worker_of(process, self.database, self.server)
            self.control.weaken_worker(worker)
            self.workers[number] = worker
            with contextlib.suppress(ProcessDied, Exception):
                await worker.run()
            self.workers[number] = None
            self.kill(process)
            await self.restart_pause()

    async def supervise_api(self, number: int) -> None:
        while not self.ended:
            process = self.begin_process(f"api-{number}-{len(self.processes)}")
            api = ApiProcess(process, self.database, self.server, appender=self.control.appender)
            self.apis[number] = api
            await process.died.wait()
            self.apis[number] = None
            await self.restart_pause()

    def begin_process(self, name: str) -> Process:
        process = Process(name, self.random, self.faults)
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """The servers see its connections closed."""
        process.kill()
        for session in list(self.database.sessions):
            if session.process is process:
                self.database.end(session)

    async def restart_pause(self) -> None:
        await asyncio.sleep(self.random.uniform(0, RESTART_SECONDS_MAX))

    def choose_api(self) -> ApiProcess | None:
        return self.random.choice(self.apis)

    def hear(self, message: dict[str, Any]) -> None:
        """What every subscriber of the groups would get."""
        batch = decode_batch(message["data"])
        changes = batch.sequence - batch.previous_sequence
        require(changes <= settings.MARKET_MESSAGE_CHANGES_MAX, f"a message of {changes} changes")
        require(len(batch.trades) <= changes, f"{len(batch.trades)} trades in a message of {changes} changes")
        for text in batch.trades:
            self.published_trades.add(text.split('"trade_id":"')[1].split('"')[0])

    def on_task_failure(self, loop: Any, context: dict[str, Any]) -> None:
        """A task that nobody waits for has failed: dying is allowed."""
        error = context.get("exception")
        if not isinstance(error, ProcessDied):
            self.failures.append(f"{context['message']}: {error!r}")

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    def end(self, loop: VirtualLoop) -> None:
        """Nothing of this run goes on."""
        self.ended = True
        for process in self.processes:
            process.kill()
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks))

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()
