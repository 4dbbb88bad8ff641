"""Child processes stop in time even if they ignore every signal but SIGKILL."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings

from hosting.embedded import postgres, processes, valkey
from hosting.embedded.processes import OwnedProcess, StopStep
from tests.system.exchange import STOP_SECONDS_MAX, wait_until

DEAF = """
import pathlib, signal, sys
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
while True:
    signal.pause()
"""
MARGIN_SECONDS = 0.5  # for the work between the waits

Start = Callable[..., OwnedProcess]


class Clock:
    """A clock that moves only when a process is waited for, by the whole timeout of the wait."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def replace_waiting(self, process: subprocess.Popen[bytes]) -> None:
        real = process.wait

        def wait(timeout: float | None = None) -> int:
            if timeout is None:  # after SIGKILL
                return real()
            self.now += timeout
            raise subprocess.TimeoutExpired(process.args, timeout)

        process.wait = wait  # type: ignore[method-assign]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def start_deaf(process: OwnedProcess, clock: Clock) -> None:
    """Start the process, and return when it ignores signals."""
    is_deaf = Path(process.command[-1])
    is_deaf.unlink(missing_ok=True)
    process.start()
    wait_until(is_deaf.exists, "it ignores signals")
    assert process._process is not None
    clock.replace_waiting(process._process)


@pytest.fixture
def start(clock: Clock, tmp_path: Path) -> Iterator[Start]:
    started: list[OwnedProcess] = []

    def start(*steps: float, together: Sequence[OwnedProcess] = ()) -> OwnedProcess:
        process = OwnedProcess(
            "deaf",
            [sys.executable, "-c", DEAF, str(tmp_path / f"{len(started)}")],
            stop_steps=[StopStep(signal.SIGTERM, seconds) for seconds in steps],
            together=together,
        )
        started.append(process)
        start_deaf(process, clock)
        return process

    yield start
    for process in started:
        process.kill()


def test_a_process_that_does_not_end_is_killed_after_its_steps(clock: Clock, start: Start) -> None:
    process = start(2.0, 0.5)
    process.stop()
    assert not process.is_running()
    assert clock.now == 1_002.5


def test_processes_that_stop_together_take_as_long_as_the_slowest(clock: Clock, start: Start) -> None:
    group: list[OwnedProcess] = []
    group.extend(start(*steps, together=group) for steps in ((2.0,), (1.0, 2.0), (0.5,), (2.0,)))
    for process in reversed(group):
        process.stop()
    assert not any(process.is_running() for process in group)
    assert clock.now == 1_003.0


def test_a_process_that_is_started_again_has_its_whole_time_to_stop(clock: Clock, start: Start) -> None:
    group: list[OwnedProcess] = []
    group.extend(start(2.0, together=group) for _ in range(2))
    group[1].stop()  # asks both to stop
    assert clock.now == 1_002.0
    start_deaf(group[0], clock)
    group[0].stop()
    assert clock.now == 1_004.0


def test_the_stop_times_of_serve_add_up_to_less_than_its_deadline() -> None:
    """Listeners stop first, then workers, then servers, each kind together: see the supervisor."""
    servers = max(sum(step.seconds for step in steps) for steps in (postgres.STOP_STEPS, valkey.STOP_STEPS))
    seconds = settings.API_STOP_SECONDS + settings.WORKER_STOP_SECONDS + servers
    assert seconds <= STOP_SECONDS_MAX - MARGIN_SECONDS
    assert settings.API_GRACE_SECONDS < settings.API_STOP_SECONDS
