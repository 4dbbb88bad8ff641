"""Whose metrics go when a process has gone: nobody else's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pytest_django.fixtures import Settings

from exchange_site.metrics import forget_dead_processes
from orders.metrics import LATENCY_BUCKETS_SECONDS, SeriesHistogram


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """The metrics of the host `web`."""
    settings.METRICS_HOST = "web"
    settings.ENVIRONMENT_METRICS_DIR = str(tmp_path)
    return tmp_path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_only_live_gauges_of_this_hosts_dead_processes_go(folder: Path, dead: int) -> None:
    kept = {
        f"gauge_livesum_web-{os.getpid()}.db",
        f"gauge_livesum_web-1-{dead}.db",  # the host `web-1`: its numbers tell nothing here
        f"gauge_livesum_other-{dead}.db",
        f"gauge_mostrecent_web-{dead}.db",
        f"counter_web-{dead}.db",
    }
    for name in {*kept, f"gauge_livesum_web-{dead}.db", f"gauge_liveall_web-{dead}.db"}:
        (folder / name).touch()
    forget_dead_processes()
    assert left(folder) == kept


def test_a_process_that_starts_begins_at_nothing(folder: Path) -> None:
    (folder / f"gauge_livesum_web-{os.getpid()}.db").touch()
    (folder / f"gauge_livesum_web-{os.getppid()}.db").touch()
    forget_dead_processes(starting=os.getpid())
    assert left(folder) == {f"gauge_livesum_web-{os.getppid()}.db"}


def test_many_amounts_at_once_are_counted_as_each_of_them() -> None:
    bounds = LATENCY_BUCKETS_SECONDS
    amounts = [0.0, 0.0004, 0.0015, *bounds, *(bound * 1.000001 for bound in bounds), 7.5, 60.0, 60.0]
    registry = CollectorRegistry()
    at_once = SeriesHistogram("at_once", "Test", buckets=bounds, registry=registry)
    each = SeriesHistogram("each", "Test", buckets=bounds, registry=registry)
    at_once.observe_all(amounts)
    at_once.observe_all([0.1])
    for amount in (*amounts, 0.1):
        each.observe(amount)
    told = [
        {
            (sample.name.removeprefix(metric.name), *sample.labels.items()): sample.value
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        for metric in registry.collect()
    ]
    assert len(told[0]) == len(bounds) + 3  # infinity, the sum, the count
    assert told[0] == pytest.approx(told[1])
