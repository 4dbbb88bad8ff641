"""Whose metrics go when a process has gone: nobody else's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from exchange_site.metrics import forget_dead_processes


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
