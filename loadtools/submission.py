"""Sends the orders of a file over the public API, each until its result is known.

A fixed number of tasks take orders from one iterator. Each has one connection and one order in
flight. Orders are retried with the same body and so with the same idempotency key, so none is
placed twice. 429 and 503 are retried after the pause of `Retry-After`, 504 and broken connections
after a second. With more than one connection, the orders arrive only roughly in the order of the
file.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from loadtools.connection import Caller, ConnectError
from loadtools.wire import Response, Target, encode_post

_RETRIED_STATUSES = frozenset({429, 503, 504})
_RETRY_SECONDS = 1.0
_MESSAGE_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionLimits:
    """Limits. `attempts` counts all attempts of one order, including the first."""

    connections: int
    attempts: int = 20
    retry_after_seconds_max: float = 60.0
    answer_timeout_seconds: float = 10.0  # Longer than the exchange needs to answer 504.
    connect_timeout_seconds: float = 5.0


@dataclass(slots=True)
class Submission:
    """The results so far. `statuses` counts each order's last answer, 0 if there was none."""

    created: int = 0
    replayed: int = 0
    failed: int = 0
    retries: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    first_failure: str | None = None

    @property
    def settled(self) -> int:
        return self.created + self.replayed + self.failed

    def settle(self, response: Response | None, problem: str) -> None:
        self.statuses[response.status if response else 0] += 1
        if response is None or not response.ok:
            self.failed += 1
            self.first_failure = self.first_failure or problem
        elif response.header("Idempotency-Replayed") == "true":
            self.replayed += 1
        else:
            self.created += 1


async def submit(
    target: Target,
    bodies: Iterator[bytes],
    limits: SubmissionLimits,
    on_settled: Callable[[Submission], None],
) -> Submission:
    """Send every body.

    Raises `ConnectError` if the target can't be reached, and any exception of `bodies`.
    """
    submission = Submission()

    async def send_orders() -> None:
        caller = Caller(
            target,
            connect_timeout_seconds=limits.connect_timeout_seconds,
            answer_timeout_seconds=limits.answer_timeout_seconds,
        )
        try:
            for body in bodies:
                await _send_until_settled(caller, encode_post(target, "/orders", body), limits, submission)
                on_settled(submission)
        finally:
            caller.close()

    workers = [asyncio.create_task(send_orders()) for _ in range(limits.connections)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return submission


async def _send_until_settled(
    caller: Caller, request: bytes, limits: SubmissionLimits, submission: Submission
) -> None:
    """Send one order until it has a final answer or the attempts are used up."""
    response: Response | None = None
    problem = ""
    for attempt in range(limits.attempts):
        if attempt:
            submission.retries += 1
            await asyncio.sleep(_pause_seconds(response, limits))
        try:
            response = await caller.call(request)
        except ConnectError as error:
            if not submission.settled:
                raise
            response, problem = None, str(error)
        except (ConnectionError, TimeoutError) as error:
            response, problem = None, f"no answer ({type(error).__name__})"
        else:
            problem = f"{response.status} {response.body[:_MESSAGE_CHARACTERS_MAX].decode(errors='replace')}"
            if response.status not in _RETRIED_STATUSES:
                break
    submission.settle(response, problem)


def _pause_seconds(response: Response | None, limits: SubmissionLimits) -> float:
    text = response.header("Retry-After") if response else None
    seconds = float(text) if text and text.isdigit() else _RETRY_SECONDS
    return min(seconds, limits.retry_after_seconds_max)
