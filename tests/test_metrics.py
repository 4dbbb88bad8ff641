"""Metrics that processes share through files, also after the processes have ended."""

import contextlib
import fcntl
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pytest_django.fixtures import Settings

from base import metrics_files
from base.histograms import LATENCY_BUCKETS_SECONDS, SeriesHistogram
from base.metrics_files import collect, forget_counts, merge_dead_processes
from exchange_site.metrics import MetricsSnapshot
from orders.partition_states import PartitionState
from tests.environment import exchange_variables
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, manage, wait_until

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]

# A program that counts in the given folder, under the given name of a host.
COUNTING_PROCESS = """
import os, socket, sys
folder, host = sys.argv[1:]
socket.gethostname = lambda: host
from django.conf import settings
settings.configure(ENVIRONMENT_METRICS_DIR=folder, METRICS_LOCK_SECONDS_MAX=120.0)
from prometheus_client import Counter, Gauge, Histogram, values
from base.metrics_values import SharedValue
values.ValueClass = SharedValue
from base.metrics_files import share_counts
counter = Counter("counted", "Test", ["kind"])
seconds = Histogram("seconds", "Test", buckets=(1, 10))
open_now = Gauge("open_now", "Test", multiprocess_mode="livesum")
newest = Gauge("newest", "Test", multiprocess_mode="livemostrecent")
counter.labels("before").inc(1)
share_counts()
counter.labels("after").inc(2)
seconds.observe(5)
seconds.observe(0.5)
open_now.set(3)
newest.set(4)
print("counted", flush=True)
for line in sys.stdin:
    if line == "fork\\n":
        pid = os.fork()
        if pid:
            print(pid, flush=True)
        else:
            counter.labels("fork").inc(100)
"""


class CountingProcess:
    """A process that counts in the folder, and lives until it is killed."""

    def __init__(self, folder: Path, host: str = "web") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COUNTING_PROCESS, str(folder), host],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "counted\n"

    def fork(self) -> int:
        """Let the process fork. Returns the id of the new process, which ends after its parent."""
        assert self._process.stdin is not None
        self._process.stdin.write("fork\n")
        self._process.stdin.flush()
        return int(self._answer())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.METRICS_LOCK_SECONDS_MAX = PATIENCE_SECONDS
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., CountingProcess]]:
    """Return a function that starts processes, which are killed at the end of the test."""
    with contextlib.ExitStack() as started:

        def start_one(host: str = "web") -> CountingProcess:
            process = CountingProcess(folder, host)
            started.callback(process.kill)
            return process

        yield start_one


def values(folder: Path) -> Values:
    """Return the values of all series, as GET /metrics shows them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in collect(folder)
        for sample in metric.samples
    }


def counted(folder: Path, kind: str) -> float | None:
    return values(folder).get(("counted_total", frozenset({("kind", kind)})))


def value_of(folder: Path, name: str) -> float | None:
    return values(folder).get((name, frozenset()))


def bucket(folder: Path, bound: str) -> float:
    return values(folder)["seconds_bucket", frozenset({("le", bound)})]


def files_left(folder: Path) -> set[str]:
    """Return the names of the files of processes and merges."""
    return {path.name for path in folder.iterdir()} - {".turn"}


def test_a_dead_process_is_noticed_on_every_host(folder: Path, start: Callable[..., CountingProcess]) -> None:
    """Its live gauges disappear, and its counts stay, whichever host it ran on."""
    container, other = start("container-1"), start("container-2")
    assert value_of(folder, "open_now") == 6
    container.kill()
    assert value_of(folder, "open_now") == 3
    assert value_of(folder, "newest") == 4
    assert (counted(folder, "before"), counted(folder, "after")) == (2, 4)
    other.kill()
    assert value_of(folder, "open_now") is None
    assert value_of(folder, "newest") is None
    assert (counted(folder, "before"), counted(folder, "after")) == (2, 4)
    assert [bucket(folder, bound) for bound in ("1.0", "10.0", "+Inf")] == [2, 4, 4]
    assert (value_of(folder, "seconds_sum"), value_of(folder, "seconds_count")) == (11, 4)


def test_the_number_of_files_does_not_grow_with_dead_processes(
    folder: Path, start: Callable[..., CountingProcess]
) -> None:
    for _ in range(4):
        start().kill()
    merge_dead_processes(folder)
    assert files_left(folder) == {"counter_merged.db", "histogram_merged.db"}
    assert counted(folder, "after") == 8
    forget_counts(folder)
    assert files_left(folder) == set()


def test_a_starting_process_merges_files_of_dead_ones(
    folder: Path, start: Callable[..., CountingProcess]
) -> None:
    start("one").kill()
    start("two")
    assert not {name for name in files_left(folder) if "one" in name}


class KilledMerge:
    """Interrupts a merge before the given change to the folder, counted from 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        self._left = step
        for name in ("replace", "unlink", "write_text"):
            monkeypatch.setattr(Path, name, self._changing(getattr(Path, name)))

    def _changing(self, change: Callable[..., object]) -> Callable[..., object]:
        def change_or_end(path: Path, *args: object, **options: object) -> object:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            return change(path, *args, **options)

        return change_or_end


def test_counts_are_exact_after_a_killed_merge(
    folder: Path, start: Callable[..., CountingProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge is interrupted before its first change to the folder, its second, and so on."""
    for step in itertools.count():
        start().kill()
        is_killed = False
        with monkeypatch.context() as patch:
            KilledMerge(patch, step)
            try:
                merge_dead_processes(folder)
            except KeyboardInterrupt:
                is_killed = True
        assert counted(folder, "after") == bucket(folder, "+Inf") == 2 * (step + 1), f"before change {step}"
        if not is_killed:
            break
    assert step >= 10


def test_counts_can_be_read_while_another_process_has_the_turn(
    folder: Path, start: Callable[..., CountingProcess], settings: Settings
) -> None:
    """The other process may be frozen."""
    settings.METRICS_LOCK_SECONDS_MAX = 0.0
    dead, _ = start(), start()
    dead.kill()
    with (folder / ".turn").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        before = files_left(folder)
        assert counted(folder, "after") == 4
        assert files_left(folder) == before
    assert counted(folder, "after") == 4
    assert files_left(folder) != before


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\xff" * 8192, b"\x00\x10\0\0" + b"\x7f" * 4092])
def test_a_broken_file_hides_no_other_file(
    folder: Path, start: Callable[..., CountingProcess], content: bytes
) -> None:
    start()
    (folder / "counter_gone-1-2.db").write_bytes(content)
    (folder / "histogram_gone-1-2.db").write_bytes(content)
    assert counted(folder, "after") == 2
    assert not {name for name in files_left(folder) if "gone" in name}


def test_a_forked_process_counts_in_files_of_its_own(
    folder: Path, start: Callable[..., CountingProcess]
) -> None:
    """The parent counts as dead although the fork has inherited its open files."""
    parent = start()
    fork = parent.fork()
    assert counted(folder, "fork") is None
    parent.kill()
    try:
        wait_until(lambda: value_of(folder, "open_now") is None, "the parent is known to be dead")
        assert counted(folder, "after") == 2
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(fork, 9)


def test_a_management_command_leaves_no_metrics_files(tmp_path: Path) -> None:
    finished = manage(exchange_variables(tmp_path), "create_fixtures", "--orders", "10")
    assert finished.returncode == 0, finished.stderr
    assert files_left(tmp_path / "metrics") == set()


def test_a_metrics_folder_that_cannot_be_used_stops_nothing(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    settings.ENVIRONMENT_METRICS_DIR = str(tmp_path / "file")
    monkeypatch.setattr(metrics_files, "_alive_file", None)
    metrics_files.share_counts()
    (line,) = caplog.messages
    assert "EXCHANGE_METRICS_DIR can't be used" in line
    assert metrics_files._alive_file is None


def render_metrics(folder: Path, settings: Settings, states: list[PartitionState] | None) -> str:
    settings.ENVIRONMENT_METRICS_DIR = str(folder)
    return MetricsSnapshot(states).text().decode()


def test_metrics_show_the_current_state_of_partitions(folder: Path, settings: Settings) -> None:
    states = [
        PartitionState(partition=0, is_matched=True, queue_length=3, oldest_seconds=0.25),
        PartitionState(partition=7, is_matched=False, queue_length=0, oldest_seconds=0.0),
    ]
    lines = render_metrics(folder, settings, states).splitlines()
    for line in (
        'exchange_worker_up{partition="0"} 1.0',
        'exchange_worker_up{partition="7"} 0.0',
        'exchange_queue_length{partition="0"} 3.0',
        'exchange_oldest_command_age_seconds{partition="0"} 0.25',
        'exchange_oldest_command_age_seconds{partition="7"} 0.0',
        "exchange_partitions_known 1.0",
    ):
        assert line in lines


def test_metrics_leave_out_unknown_states_of_partitions(folder: Path, settings: Settings) -> None:
    metrics_text = render_metrics(folder, settings, None)
    assert "exchange_partitions_known 0.0" in metrics_text.splitlines()
    assert "exchange_worker_up{" not in metrics_text


def test_metrics_show_the_projects_version(folder: Path, settings: Settings) -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    build = re.search(
        r"^exchange_build_info\{(.*)\} 1\.0$", render_metrics(folder, settings, []), flags=re.MULTILINE
    )
    assert build is not None
    assert f'version="{version[1]}"' in build[1]
    assert all(f"{name}=" in build[1] for name in ("python", "django"))


def test_many_amounts_at_once_count_like_single_amounts() -> None:
    bounds = LATENCY_BUCKETS_SECONDS
    amounts = [0.0, 0.0004, 0.0015, *bounds, *(bound * 1.000001 for bound in bounds), 7.5, 60.0, 60.0]
    registry = CollectorRegistry()
    at_once = SeriesHistogram("at_once", "Test", buckets=bounds, registry=registry)
    each = SeriesHistogram("each", "Test", buckets=bounds, registry=registry)
    at_once.observe_all(amounts)
    at_once.observe_all([0.1])
    for amount in (*amounts, 0.1):
        each.observe(amount)
    totals = [
        {
            (sample.name.removeprefix(metric.name), *sample.labels.items()): sample.value
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        for metric in registry.collect()
    ]
    assert len(totals[0]) == len(bounds) + 3  # the infinite bucket, the sum and the count
    assert totals[0] == pytest.approx(totals[1])
