"""The load generator: open loop at a given rate, or closed loop with a number of connections.

Open loop: request i is due at start + i / rate, whatever the server does. It is sent on a free
connection as soon as it is due. Its latency counts from its due time, so the wait for a stalled
server is included (no coordinated omission).

Closed loop: each connection sends its next request when the last one is answered. Latency counts
from the sending.

Everything runs in callbacks of one event loop. A request takes 20 microseconds of processor time if
answers arrive together, and up to 60 if each answer wakes the process. The loop's timers have a
resolution of milliseconds, so an idle generator may send up to 1 ms late. This millisecond is
included in the latencies. A run has limits of requests and of time, so it ends whatever the server
does.
"""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from loadtools.connection import ConnectError, HttpConnection, connect
from loadtools.wire import Response, Target

_CHECK_SECONDS = 0.1
_CHECKS_PER_PROGRESS = 5
_TIMER_SECONDS_MIN = 0.001
_RECONNECT_SECONDS_MIN = 0.1
_RECONNECT_SECONDS_MAX = 1.0

Judge = Callable[[Response], str | None]
"""Returns the problem of an answer as a short error kind, or None if the answer is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The limits of a run. If `rate_per_second` is None, it is a closed loop."""

    requests: int
    duration_seconds: float
    rate_per_second: float | None
    connections: int
    answer_timeout_seconds: float = 10.0  # Longer than the exchange needs to answer 504.
    connect_timeout_seconds: float = 5.0

    @classmethod
    def open_loop(cls, rate: int, seconds: int, *, connections: int = 32) -> Self:
        """Return a plan of so many requests per second."""
        return cls(
            requests=rate * seconds,
            duration_seconds=seconds,
            rate_per_second=float(rate),
            connections=connections,
        )


@dataclass(slots=True)
class LoadResult:
    """The result of a run. Latencies are in microseconds, of right answers only."""

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
        """The number of requests whose result is known."""
        return self.right + self.errors.total()


class LoadGenerator:
    """One run of a plan. Call `run` once."""

    def __init__(
        self,
        target: Target,
        plan: Plan,
        requests: Iterator[bytes],
        judge: Judge,
        on_progress: Callable[[LoadResult], None] = lambda outcome: None,
    ) -> None:
        self._target = target
        self._plan = plan
        self._requests = requests
        self._judge = judge
        self._on_progress = on_progress
        self._interval_ns = 1e9 / plan.rate_per_second if plan.rate_per_second else 0.0
        self._count = plan.requests  # Lowered to the requests sent so far when sending stops.
        self._next = 0
        self._start_ns = 0
        self._last_answer_ns = 0
        self._free: list[HttpConnection] = []
        self._connections: set[HttpConnection] = set()
        self._reconnects: set[asyncio.Task[None]] = set()
        self._outcome = LoadResult()
        self._finished = asyncio.Event()

    async def run(self) -> LoadResult:
        """Run the plan and return its result.

        Raises `ConnectError` if the target can't be reached at the start. Later failures are
        counted.
        """
        plan = self._plan
        opened = [
            await connect(self._target, self, timeout_seconds=plan.connect_timeout_seconds)
            for _ in range(plan.connections)
        ]
        self._connections.update(opened)
        self._free.extend(opened)
        processor_start = time.process_time()
        self._start_ns = time.perf_counter_ns()
        self._send_and_schedule()
        timeouts_task = asyncio.create_task(self._check_timeouts())
        try:
            async with asyncio.timeout(plan.duration_seconds + plan.answer_timeout_seconds):
                await self._finished.wait()
        except TimeoutError:
            self._count_unfinished()
        timeouts_task.cancel()
        self._outcome.processor_seconds = time.process_time() - processor_start
        last_ns = self._last_answer_ns or time.perf_counter_ns()
        self._outcome.elapsed_seconds = (last_ns - self._start_ns) / 1e9
        self._outcome.requests = self._next
        self._close_connections()
        return self._outcome

    # --- sending

    def _send_and_schedule(self) -> None:
        """Send all due requests, and schedule the next call."""
        now = time.perf_counter_ns()
        self._send_due(now)
        if self._next < self._count:
            wait_seconds = (self._due_ns(now) - now) / 1e9
            asyncio.get_running_loop().call_later(
                max(wait_seconds, _TIMER_SECONDS_MIN), self._send_and_schedule
            )

    def _due_ns(self, now: int) -> int:
        return self._start_ns + int(self._next * self._interval_ns) if self._interval_ns else now

    def _send_due(self, now: int) -> None:
        while self._free and self._next < self._count:
            due = self._due_ns(now)
            if due > now:
                return
            connection = self._free.pop()
            if not connection.usable:
                continue  # `lost` will be called and will replace it.
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

    # --- events of connections

    def answered(self, connection: HttpConnection, response: Response) -> None:
        if self._finished.is_set():
            return
        now = self._last_answer_ns = time.perf_counter_ns()
        outcome = self._outcome
        error_kind = self._judge(response)
        if error_kind is None:
            outcome.latencies_microseconds.append((now - connection.due_ns) // 1000)
        else:
            outcome.errors[error_kind] += 1
        self._free.append(connection)
        if self._next < self._count:
            self._send_due(now)
        else:
            self._finish_if_settled()

    def lost(self, connection: HttpConnection, reason: str) -> None:
        self._connections.discard(connection)
        if self._finished.is_set():
            return
        if connection.in_flight:
            connection.in_flight = False
            self._outcome.errors[reason] += 1
            self._finish_if_settled()
        task = asyncio.get_running_loop().create_task(self._reconnect(at_once=connection.proven))
        self._reconnects.add(task)
        task.add_done_callback(self._reconnects.discard)

    async def _reconnect(self, *, at_once: bool) -> None:
        """Replace a lost connection. Pauses between attempts grow while nothing listens."""
        pause_seconds = _RECONNECT_SECONDS_MIN
        if not at_once:  # The peer accepts connections and drops them, so do not retry at once.
            await asyncio.sleep(pause_seconds)
        while True:
            try:
                connection = await connect(
                    self._target, self, timeout_seconds=self._plan.connect_timeout_seconds
                )
                break
            except ConnectError:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, _RECONNECT_SECONDS_MAX)
        self._connections.add(connection)
        self._free.append(connection)
        self._send_due(time.perf_counter_ns())

    # --- time limits

    async def _check_timeouts(self) -> None:
        """Drop connections with overdue answers, end a closed loop in time, and report progress."""
        timeout_ns = int(self._plan.answer_timeout_seconds * 1e9)
        end_ns = self._start_ns + int(self._plan.duration_seconds * 1e9)
        checks = 0
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = time.perf_counter_ns()
            for connection in list(self._connections):
                if connection.in_flight and now - connection.sent_ns > timeout_ns:
                    connection.abort("timeout")
            if self._plan.rate_per_second is None and now >= end_ns and self._next < self._count:
                self._stop_sending()
            checks += 1
            if checks % _CHECKS_PER_PROGRESS == 0:
                self._on_progress(self._outcome)

    def _count_unfinished(self) -> None:
        """Count requests that are unanswered or unsent at the end of the time as errors."""
        self._finished.set()
        errors = self._outcome.errors
        in_flight = sum(connection.in_flight for connection in self._connections)
        not_sent = self._count - self._next
        for kind, count in (("unanswered_at_end", in_flight), ("not_sent", not_sent)):
            if count:
                errors[kind] += count
        self._next = self._count

    def _close_connections(self) -> None:
        self._finished.set()
        for task in self._reconnects:
            task.cancel()
        for connection in list(self._connections):
            connection.abort("closed")
