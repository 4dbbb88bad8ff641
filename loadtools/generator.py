"""The load generator: open loop at a given rate, or closed loop with a number of connections.

Open loop: request i is due at start + i / rate, whatever the server does. It leaves on a free connection
as soon as it is due, and its latency counts from when it was due: a request that had to wait for a stalled
server counts with its wait (no coordinated omission). Closed loop: each connection sends the next request
when the last one is answered, and latency counts from sending.

Everything runs in callbacks of one event loop: 20 microseconds of processor time a request when answers
come in bunches, up to 60 when each one wakes the process. The loop's timers tick in milliseconds, so an
otherwise idle generator may send up to 1 ms after the due time; that millisecond is in the latencies. A
run is bounded in requests and in time and ends by itself, whatever the server does.
"""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from loadtools.connection import ConnectError, Connection, connect
from loadtools.wire import Response, Target

SWEEP_SECONDS = 0.1
SWEEPS_PER_PROGRESS = 5
TIMER_SECONDS_MIN = 0.001
RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 1.0

Judge = Callable[[Response], str | None]
"""Says what is wrong with an answer, as a short error kind; None where it is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to send. `rate_per_second` None is the closed loop, which ends in time too."""

    requests: int
    duration_seconds: float
    rate_per_second: float | None
    connections: int
    answer_timeout_seconds: float
    connect_timeout_seconds: float


@dataclass(slots=True)
class Outcome:
    """What came of it. Latencies, in microseconds, are those of right answers only."""

    requests: int = 0
    latencies_microseconds: "array[int]" = field(default_factory=lambda: array("Q"))
    errors: Counter[str] = field(default_factory=Counter)
    elapsed_seconds: float = 0.0
    processor_seconds: float = 0.0

    @property
    def right(self) -> int:
        return len(self.latencies_microseconds)

    @property
    def settled(self) -> int:
        """Requests whose fate is known."""
        return self.right + self.errors.total()


def _no_progress(outcome: Outcome) -> None:
    pass


class LoadGenerator:
    """One run of a plan; `await run()` once."""

    def __init__(
        self,
        target: Target,
        plan: Plan,
        requests: Iterator[bytes],
        judge: Judge,
        on_progress: Callable[[Outcome], None] = _no_progress,
    ) -> None:
        self._target = target
        self._plan = plan
        self._requests = requests
        self._judge = judge
        self._on_progress = on_progress
        self._interval_ns = 1e9 / plan.rate_per_second if plan.rate_per_second else 0.0
        self._count = plan.requests  # falls to what has been sent once no more may be sent
        self._next = 0
        self._start_ns = 0
        self._last_answer_ns = 0
        self._free: list[Connection] = []
        self._connections: set[Connection] = set()
        self._reconnects: set[asyncio.Task[None]] = set()
        self._outcome = Outcome()
        self._finished = asyncio.Event()

    async def run(self) -> Outcome:
        """Raises `ConnectError` where nothing listens at the start; later failures are counted."""
        plan = self._plan
        opened = [
            await connect(self._target, self, timeout_seconds=plan.connect_timeout_seconds)
            for _ in range(plan.connections)
        ]
        self._connections.update(opened)
        self._free.extend(opened)
        processor_start = time.process_time()
        self._start_ns = time.perf_counter_ns()
        self._tick()
        sweeper = asyncio.create_task(self._sweep())
        try:
            async with asyncio.timeout(plan.duration_seconds + plan.answer_timeout_seconds):
                await self._finished.wait()
        except TimeoutError:
            self._give_up()
        sweeper.cancel()
        self._outcome.processor_seconds = time.process_time() - processor_start
        last_ns = self._last_answer_ns or time.perf_counter_ns()
        self._outcome.elapsed_seconds = (last_ns - self._start_ns) / 1e9
        self._outcome.requests = self._next
        self._hang_up()
        return self._outcome

    # --- sending

    def _tick(self) -> None:
        """Send what is due, then wake up when the next one is."""
        now = time.perf_counter_ns()
        self._send_due(now)
        if self._next < self._count:
            wait_seconds = (self._due_ns(now) - now) / 1e9
            asyncio.get_running_loop().call_later(max(wait_seconds, TIMER_SECONDS_MIN), self._tick)

    def _due_ns(self, now: int) -> int:
        return self._start_ns + int(self._next * self._interval_ns) if self._interval_ns else now

    def _send_due(self, now: int) -> None:
        while self._free and self._next < self._count:
            due = self._due_ns(now)
            if due > now:
                return
            connection = self._free.pop()
            if not connection.usable:
                continue  # it is on its way to `lost`, which replaces it
            request = next(self._requests, None)
            if request is None:
                self._stop_sending()
                return
            connection.due_ns = due
            connection.sent_ns = now
            self._next += 1
            connection.send(request)

    def _stop_sending(self) -> None:
        self._count = self._next
        self._finish_if_settled()

    def _finish_if_settled(self) -> None:
        if self._outcome.settled >= self._count:
            self._finished.set()

    # --- what the connections tell

    def answered(self, connection: Connection, response: Response) -> None:
        if self._finished.is_set():
            return
        now = self._last_answer_ns = time.perf_counter_ns()
        outcome = self._outcome
        wrong = self._judge(response)
        if wrong is None:
            outcome.latencies_microseconds.append((now - connection.due_ns) // 1000)
        else:
            outcome.errors[wrong] += 1
        self._free.append(connection)
        if self._next < self._count:
            self._send_due(now)
        else:
            self._finish_if_settled()

    def lost(self, connection: Connection, reason: str) -> None:
        self._connections.discard(connection)
        if self._finished.is_set():
            return
        if connection.in_flight:
            connection.in_flight = False
            self._outcome.errors[reason] += 1
            self._finish_if_settled()
        task = asyncio.get_running_loop().create_task(self._replace(at_once=connection.proven))
        self._reconnects.add(task)
        task.add_done_callback(self._reconnects.discard)

    async def _replace(self, *, at_once: bool) -> None:
        """Open a connection in the place of a lost one, with growing pauses while nothing listens."""
        pause_seconds = RECONNECT_SECONDS_MIN
        if not at_once:  # the peer takes connections and drops them: do not spin
            await asyncio.sleep(pause_seconds)
        while True:
            try:
                connection = await connect(
                    self._target, self, timeout_seconds=self._plan.connect_timeout_seconds
                )
                break
            except ConnectError:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, RECONNECT_SECONDS_MAX)
        self._connections.add(connection)
        self._free.append(connection)
        self._send_due(time.perf_counter_ns())

    # --- time limits

    async def _sweep(self) -> None:
        """Drop connections whose answer is overdue, end a closed loop in time, tell the progress."""
        timeout_ns = int(self._plan.answer_timeout_seconds * 1e9)
        end_ns = self._start_ns + int(self._plan.duration_seconds * 1e9)
        sweeps = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.perf_counter_ns()
            for connection in list(self._connections):
                if connection.in_flight and now - connection.sent_ns > timeout_ns:
                    connection.abort("timeout")
            if self._plan.rate_per_second is None and now >= end_ns and self._next < self._count:
                self._stop_sending()
            sweeps += 1
            if sweeps % SWEEPS_PER_PROGRESS == 0:
                self._on_progress(self._outcome)

    def _give_up(self) -> None:
        """The time is over: whatever is in flight or has not left is an error of its own kind."""
        self._finished.set()
        errors = self._outcome.errors
        in_flight = sum(connection.in_flight for connection in self._connections)
        not_sent = self._count - self._next
        for kind, count in (("unanswered_at_end", in_flight), ("not_sent", not_sent)):
            if count:
                errors[kind] += count
        self._next = self._count

    def _hang_up(self) -> None:
        self._finished.set()
        for task in self._reconnects:
            task.cancel()
        for connection in list(self._connections):
            connection.abort("closed")
