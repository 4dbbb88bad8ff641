"""One run: two workers, two API processes, clients, faults for a while, quiet, then the checks."""

import asyncio
import contextlib
from collections.abc import Coroutine
from random import Random
from typing import Any, NamedTuple

from django.conf import settings
from django.test import override_settings

from marketdata.book import mirror_keys
from marketdata.messages import decode_batch
from matching.batch.batch import Batch
from matching.worker.worker import MatchingWorker
from tests.simulation.breaches import Breach, require
from tests.simulation.checks import check_batch, check_clients, check_database, expected_mirror
from tests.simulation.clients import ClientKnowledge, SimulatedClient
from tests.simulation.controls import Control
from tests.simulation.database import Before, Database, make_instrument
from tests.simulation.faults import SeededFaults
from tests.simulation.process import Process, ProcessDied
from tests.simulation.processes import ApiProcess, make_worker
from tests.simulation.redis_model import Server
from tests.simulation.virtual_loop import Deadlock, VirtualLoop

SYMBOLS = ("BTC-USD", "ETH-USD")
WORKERS = 2
API_PROCESSES = 2
CLIENTS = 4
REQUESTS_MAX = 7  # of one client
FAULTY_SECONDS = 6.0
QUIET_SECONDS_MAX = 60.0  # for the exchange to recover, and for all clients to get their outcomes
RESTART_SECONDS_MAX = 0.8
POLL_SECONDS = 0.1
CLOCK_AHEAD_SECONDS_MAX = 0.5  # of a new process; negative: behind
# How long keys are looked up after a taken one. If it is 0, the database must refuse each taken key.
LOOK_UP_SECONDS = (0.0, 0.3)
# The time is short, so that a mirror that had no room is tried again. Bounds are low, so that orders
# reach them, batches end early, commits have several messages, and mirrors have several pieces.
LIMITS = {
    "WORKER_BACKOFF_SECONDS_MIN": 0.2,  # a standby asks less often, which saves steps
    "MIRROR_RETRY_SECONDS": 0.5,
    "MIRROR_LEVELS_PER_COMMAND": 2,
    "MARKET_MESSAGE_CHANGES_MAX": 2,
    "WORKER_BATCH_TRADES_MAX": 3,
    "ORDER_TRADES_MAX": 3,
    "INSTRUMENT_OPEN_ORDERS_MAX": 9,
    "BOOK_LEVELS_PER_SIDE_MAX": 3,
    "BOOK_LEVELS_IMPROVING_MAX": 1,
    "WORKER_BATCH_CANCELS_MAX": 2,
    "WORKER_BATCH_TRIGGERED_MAX": 1,
    "WORKER_DEFERRED_COMMANDS_MAX": 4,
    "CANCELLED_IDS_MAX": 3,
    "ORDER_EXPIRY_DAYS_MAX": 100_000,  # see STARTED_AT
}


class Summary(NamedTuple):
    """Counts of a run. The same seed always gives the same counts."""

    faults: int
    acknowledged: int
    trades: int
    seconds: float  # of the virtual clock


def simulate(seed: int, control: Control | None = None) -> Summary:
    """Run one seed. Raises Breach if a promise was broken."""
    loop = VirtualLoop()
    world = World(seed, control)
    loop.set_exception_handler(world.on_task_failure)
    try:
        with override_settings(**LIMITS, WORKER_LOOK_UP_SECONDS=world.look_up_seconds):
            loop.run_until_complete(world.run())
    except Deadlock:
        raise Breach("all tasks wait forever") from None
    finally:
        world.end(loop)
        loop.close()
    return Summary(
        faults=world.faults.count,
        acknowledged=len(world.knowledge.acknowledged) + len(world.knowledge.cancelled),
        trades=len(world.database.trades),
        seconds=round(loop.now, 6),
    )


class World:
    """The servers, processes, clients and faults of one run."""

    def __init__(self, seed: int, control: Control | None) -> None:
        self.random = Random(seed)
        self.control = control or Control("none")
        self.instruments = [make_instrument(number, symbol) for number, symbol in enumerate(SYMBOLS, 1)]
        self.database = Database(self.instruments, without=self.control.name)
        self.database.cuts_off = self.random.random() < 0.5
        self.look_up_seconds = self.random.choice(LOOK_UP_SECONDS)
        self.database.on_write = self.check_batch
        self.faults = SeededFaults(self, self.random, against=self.control.against)
        self.knowledge = ClientKnowledge()
        self.published_trades: set[str] = set()
        self.apis: list[ApiProcess | None] = [None] * API_PROCESSES
        self.workers: list[MatchingWorker | None] = [None] * WORKERS
        self.processes: list[Process] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ended = False
        self.failures: list[str] = []

    async def run(self) -> None:
        self.server = Server(self.check_market_message)
        supervisors = [self.supervise_worker(number) for number in range(WORKERS)]
        supervisors += [self.supervise_api(number) for number in range(API_PROCESSES)]
        for supervisor in supervisors:
            self.start(supervisor)
        clients = [
            self.start(
                SimulatedClient(number, self.random, self.choose_api, self.knowledge).run(
                    self.random.randint(1, REQUESTS_MAX), self.instruments
                )
            )
            for number in range(CLIENTS)
        ]
        await asyncio.sleep(FAULTY_SECONDS)
        self.faults.end()
        await self.wait_for_recovery(clients)
        check_clients(self.knowledge, self.database)
        check_database(self.database)
        require(not self.failures, f"a task failed, or a batch was wrong: {self.failures}")
        require(not self.server.went_back, "an older book has replaced a mirror")
        lost = self.database.unanswered
        require(not lost, f"commands were deferred, and were never answered: {lost}")
        missing = self.published_trades - {trade.trade_id for trade in self.database.trades}
        require(not missing, f"trades were published and are not committed: {missing}")

    async def wait_for_recovery(self, clients: list[asyncio.Task[Any]]) -> None:
        """Wait until clients know all outcomes, no command waits, and all books are right."""
        deadline = self.now() + QUIET_SECONDS_MAX
        wrong = "clients wait for outcomes"
        while self.now() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            for client in clients:
                if client.done():
                    client.result()
            if all(client.done() for client in clients):
                wrong = self.difference_from_database()
                if not wrong:
                    return
        raise Breach(f"no recovery {QUIET_SECONDS_MAX:.0f} s after the last fault: {wrong}")

    def difference_from_database(self) -> str:
        """Return the first difference from the database, or '' if the books are equal."""
        if self.server.entries:
            return f"{len(self.server.entries)} commands wait"
        owner = next((one for one in self.workers if one and one.owner == self.database.owner), None)
        if owner is None:
            return "nobody owns the partition"
        if self.database.has_due_work(owner.runner.clock.now()) or self.database.deferred:
            return "something is due"
        for symbol, market in self.database.load_books().items():
            keys = mirror_keys(0, symbol)
            sequence = self.server.get(keys.sequence)
            bids, asks = (sorted(self.server.sets.get(key, {})) for key in (keys.bids, keys.asks))
            if (sequence and int(sequence), bids, asks) != expected_mirror(self.database, symbol):
                return f"the mirror of {symbol} differs"
            live = owner.books.by_symbol.get(symbol)
            if live is None or live.book.state_hash() != market.book.state_hash():
                return f"the worker's book of {symbol} differs"
        return ""

    async def supervise_worker(self, number: int) -> None:
        while not self.ended:
            process = self.begin_process(f"worker-{number}-{len(self.processes)}")
            worker = make_worker(process, self.database, self.server)
            self.control.weaken_worker(worker)
            self.workers[number] = worker
            with contextlib.suppress(ProcessDied, Exception):
                await worker.run()
            self.workers[number] = None
            self.kill(process)
            await self.pause_before_restart()

    async def supervise_api(self, number: int) -> None:
        while not self.ended:
            process = self.begin_process(f"api-{number}-{len(self.processes)}")
            api = ApiProcess(process, self.database, self.server, appender=self.control.appender)
            self.apis[number] = api
            await process.died.wait()
            self.apis[number] = None
            await self.pause_before_restart()

    def begin_process(self, name: str) -> Process:
        process = Process(name, self.random, self.faults)
        process.clock_ahead_seconds = self.random.uniform(-CLOCK_AHEAD_SECONDS_MAX, CLOCK_AHEAD_SECONDS_MAX)
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """Kill the process, and end its connections at the servers."""
        process.kill()
        for session in list(self.database.sessions):
            if session.process is process:
                self.database.end(session)

    async def pause_before_restart(self) -> None:
        await asyncio.sleep(self.random.uniform(0, RESTART_SECONDS_MAX))

    def choose_api(self) -> ApiProcess | None:
        return self.random.choice(self.apis)

    def check_market_message(self, message: dict[str, Any]) -> None:
        """Check the size of a market data message, and note its trades."""
        batch = decode_batch(message["data"])
        changes = batch.sequence - batch.previous_sequence
        require(changes <= settings.MARKET_MESSAGE_CHANGES_MAX, f"a message of {changes} changes")
        require(len(batch.trades) <= changes, f"{len(batch.trades)} trades in a message of {changes} changes")
        for text in batch.trades:
            self.published_trades.add(text.split('"trade_id":"')[1].split('"')[0])

    def check_batch(self, batch: Batch, before: Before) -> None:
        """Check a committed batch. The worker must not see a breach, which would be an error to it."""
        try:
            check_batch(self.database, batch, before)
        except Breach as breach:
            self.failures.append(str(breach))

    def on_task_failure(self, loop: Any, context: dict[str, Any]) -> None:
        """Note the failure of a task that nothing awaits, unless its process was killed."""
        error = context.get("exception")
        if not isinstance(error, ProcessDied):
            self.failures.append(f"{context['message']}: {error!r}")

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    def end(self, loop: VirtualLoop) -> None:
        """Kill all processes, and cancel all tasks."""
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
