"""Runs closed loops with wrk, a load generator in C that needs little processor time.

wrk gets the requests from benchmarks/orders.lua. It has only one thread, to leave the cores to the
exchange.
"""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtools.wire import Target

SCRIPT = Path(__file__).with_name("orders.lua")
_TIMEOUT_SECONDS = 10
_ENDS_SECONDS_MAX = 30.0  # In addition to the run's own time.


class WrkError(RuntimeError):
    """wrk is not installed, or has failed."""


class ClosedLoop(NamedTuple):
    """The results of one run.

    Times are in milliseconds. `generator` is the share of one core that wrk used, including its
    start.
    """

    per_second: float
    p50: float
    p99: float
    max: float
    generator: float
    errors: int
    acknowledged: int


class _Report(msgspec.Struct):
    seconds: float
    right: int
    wrong: int
    p50: float
    p99: float
    max: float


def closed_loop(
    target: Target,
    requests: Iterable[tuple[str, bytes]],
    *,
    connections: int,
    seconds: int,
    again: bool = False,
) -> ClosedLoop:
    """Send (path, JSON body) pairs for `seconds`. With `again`, repeat them if none is left.

    Raises WrkError, also if there are too few requests.
    """
    program = shutil.which("wrk")
    if program is None:
        raise WrkError("wrk is not installed (on Debian and Ubuntu: apt install wrk)")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={_TIMEOUT_SECONDS}s"]
    with tempfile.NamedTemporaryFile(prefix="wrk-") as prepared:
        count = 0
        for path, body in requests:
            prepared.write(b"%s %s\n" % (path.encode(), body))
            count += 1
        prepared.flush()
        before = _children_seconds()
        finished = subprocess.run(
            [*command, f"-s{SCRIPT}", target.url],
            env={**os.environ, "BENCH_REQUESTS": prepared.name, "BENCH_AGAIN": "1" if again else ""},
            capture_output=True,
            timeout=seconds + _ENDS_SECONDS_MAX,
            check=False,
        )
        used = _children_seconds() - before
    line = next((line for line in finished.stdout.splitlines() if line.startswith(b"{")), None)
    if finished.returncode != 0 or line is None:
        raise WrkError(f"wrk ended with status {finished.returncode}: {finished.stderr.decode()[-500:]}")
    report = msgspec.json.decode(line, type=_Report)
    if report.right + report.wrong + connections > count and not again:
        raise WrkError(f"{count:,} requests were not enough for {seconds} s")
    return ClosedLoop(
        per_second=report.right / report.seconds,
        p50=report.p50,
        p99=report.p99,
        max=report.max,
        generator=used / report.seconds,
        errors=report.wrong,
        acknowledged=report.right,
    )


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
