"""A short run of the chaos tool: faults under load, after which the exchange has kept its promises."""

import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chaos.faults import fault_sequence
from tests.environment import exchange_variables
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, is_gone, wait_until

RUN_SECONDS_MAX = 600
STOP_SECONDS_MAX = PATIENCE_SECONDS


@contextlib.contextmanager
def run_chaos(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start a run of the tool. If it is still running when the block ends, kill it and its exchange."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos", *options, f"--results={folder / 'results'}"],
        cwd=ROOT,
        env=exchange_variables(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.long
def test_the_exchange_keeps_its_promises_while_parts_are_killed_frozen_and_emptied(tmp_path: Path) -> None:
    with run_chaos(tmp_path, "--minutes=0.5", "--rate=150", "--seed=4") as process:
        output, _ = process.communicate(timeout=RUN_SECONDS_MAX)
    assert process.returncode == 0, output
    assert "0 acknowledged orders lost, 0 double, audit clean\n" in output
    (report,) = tmp_path.glob("results/chaos-*/report.json")
    document = json.loads(report.read_text())
    kinds = {fault for fault, _ in document["recoveries"]}
    assert len(kinds) >= 4
    assert document["breaches_listed"] == []
    assert document["counts"]["acknowledged"] > 500
    assert (
        (report.parent / "report.md").read_text().startswith("# Chaos: 0.5 minutes, 150 requests/s, seed 4\n")
    )


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _is_postmaster(process: psutil.Process) -> bool:
    """Return whether it is PostgreSQL's first process. initdb runs the same program with other options."""
    try:
        return "bin/postgres -D" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.long
def test_an_interrupted_run_leaves_nothing_running(tmp_path: Path) -> None:
    """It stops even the servers that it has frozen."""
    seed = next(
        seed for seed in itertools.count() if "SIGSTOP PostgreSQL" in next(fault_sequence(seed))[0].name
    )
    with run_chaos(tmp_path, "--minutes=1", "--rate=50", f"--seed={seed}") as process:
        run = psutil.Process(process.pid)
        postmasters: list[psutil.Process] = []

        def has_postmaster() -> bool:
            postmasters[:] = filter(_is_postmaster, run.children(recursive=True))
            return bool(postmasters)

        def is_frozen() -> bool:  # asked often, because a freeze may take only a second
            return any(map(_is_stopped, postmasters))

        wait_until(has_postmaster, "PostgreSQL runs")
        wait_until(lambda: process.poll() is not None or is_frozen(), "PostgreSQL is frozen")
        started = run.children(recursive=True)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=STOP_SECONDS_MAX)
        assert process.returncode == 130, output
        wait_until(lambda: all(map(is_gone, started)), "all processes of the run are gone")


@pytest.mark.parametrize(
    "options", [("--minutes=0",), ("--rate=0",), ("--minutes=1440", "--rate=2000"), ("--only=rain",)]
)
def test_options_out_of_bounds_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    with run_chaos(tmp_path, *options) as process:
        output, _ = process.communicate(timeout=STOP_SECONDS_MAX)
    assert process.returncode == 2
    assert "chaos: error: " in output
    assert "Traceback" not in output
