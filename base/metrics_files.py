"""The folder in which processes share their metrics, also across containers.

Each process writes files of its own, whose names contain its host, its process number and a random
part. It holds a lock (flock) on its `.alive` file. The kernel releases the lock however the process
ends, and every process that shares the folder can see the lock. Clocks, process numbers and host
names are not compared, because they cannot tell the processes of two containers apart. On Linux,
the locks work between containers of one machine on any volume, and on NFS.

The counts of dead processes are merged into one file of each kind, `<kind>_merged.db`, and their
gauges are removed. The number of files therefore grows with the live processes only, and no count
is lost. A process merges when it starts and when it reads the metrics. The lock `.turn` lets one
process merge at a time.

Files: `counter_<process>.db`, `histogram_<process>.db`, `summary_<process>.db`,
`gauge_<mode>_<process>.db`.
"""

import contextlib
import fcntl
import json
import logging
import os
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from prometheus_client import multiprocess
from prometheus_client.mmap_dict import MmapedDict

from base.metrics_values import move_counts_to_files
from base.outages import Outage

logger = logging.getLogger(__name__)

MERGED = "merged"  # replaces the process's name in the names of merged files
POLL_SECONDS = 0.02
READ_ATTEMPTS_MAX = 5

_merge_outage = Outage(logger, "EXCHANGE_METRICS_DIR: the counts of dead processes can't be merged")

# This process's `.alive` file. It stays open, and therefore locked, until the process ends.
_alive_file: int | None = None


def share_counts() -> None:
    """Share this process's metrics from now on. If the folder can't be used, only log a warning.

    Only long-running processes call this: a short command must leave no files.
    """
    global _alive_file  # noqa: PLW0603 - a process has one
    if _alive_file is not None:
        return
    folder = Path(settings.ENVIRONMENT_METRICS_DIR)
    # An underscore separates the parts of a file's name.
    host = socket.gethostname().replace("_", "-")
    process = f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        merge_dead_processes(folder)
        _alive_file = _lock_new(folder / f"{process}.alive")
        move_counts_to_files(folder, process)
    except OSError as error:
        logger.warning("this process's metrics are not shared: EXCHANGE_METRICS_DIR can't be used: %s", error)


def _forget_alive_file() -> None:
    """Close the file in a forked process: otherwise a dead parent would still seem alive."""
    global _alive_file  # noqa: PLW0603
    if _alive_file is not None:
        os.close(_alive_file)
        _alive_file = None


os.register_at_fork(after_in_child=_forget_alive_file)


def merge_dead_processes(folder: Path) -> None:
    """Merge the counts of dead processes and remove their files.

    Does nothing if the folder belongs to another user, or if another process, for example a frozen
    one, holds the lock for METRICS_LOCK_SECONDS_MAX.

    Raises OSError if the folder can't be used.
    """
    with _merge_lock(folder) as is_locked:
        if is_locked:
            _merge(folder)


def collect(folder: Path) -> list[Any]:
    """Merge the files of dead processes. Return the metrics of all processes. Raises OSError."""
    with _merge_lock(folder) as is_locked:
        if is_locked:
            try:
                _merge(folder)
            except OSError as error:
                _merge_outage.failed(error)
            else:
                _merge_outage.ended()
        for _ in range(READ_ATTEMPTS_MAX):
            paths = [path for path in _metric_files(folder) if _is_readable(path)]
            # A file is missing if another process has merged it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                return list(multiprocess.MultiProcessCollector.merge(map(str, paths)))  # type: ignore[no-untyped-call]
    raise FileNotFoundError(f"files in {folder} were removed while they were read")


def forget_counts(folder: Path) -> None:
    """Remove the counts of dead processes. Raises OSError."""
    with _merge_lock(folder) as is_locked:
        if is_locked:
            _merge(folder)
            for path in folder.glob(f"*_{MERGED}.db"):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _merge_lock(folder: Path) -> Iterator[bool]:
    """Yield whether this process has the lock and may change the folder's files. Raises OSError."""
    try:
        file = os.open(folder / ".turn", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:  # the folder belongs to another user
        yield False
        return
    try:
        yield _lock(file, seconds=settings.METRICS_LOCK_SECONDS_MAX)
    finally:
        os.close(file)


def _lock(file: int, *, seconds: float = 0.0) -> bool:
    """Lock an open file. Return False if another process still holds the lock after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True


def _lock_new(path: Path) -> int:
    """Create a file and lock it. Raises OSError."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if _lock(file) and _is_linked(file, path):
            return file
        # Between the two steps, another process found the file unlocked and removed it.
        os.close(file)


def _is_linked(file: int, path: Path) -> bool:
    try:
        return os.fstat(file).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _metric_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_*.db"))


def _process_of(path: Path) -> str:
    """Return the process's name, which is the last part of a file's name."""
    return path.stem.rpartition("_")[2]


def _is_alive(folder: Path, process: str) -> bool:
    """Return whether a process holds its lock, which it takes before it makes its other files."""
    try:
        file = os.open(folder / f"{process}.alive", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # the file belongs to another user and must not be removed
    try:
        return not _lock(file)
    finally:
        os.close(file)


def _merge(folder: Path) -> None:
    """Merge the files of dead processes. The caller holds the merge lock."""
    _finish_interrupted_merge(folder)
    files = _metric_files(folder)
    processes = {_process_of(path) for path in files} | {path.stem for path in folder.glob("*.alive")}
    dead = {process for process in processes - {MERGED} if not _is_alive(folder, process)}
    if not dead:
        return
    counted: dict[str, list[Path]] = {}
    for path in files:
        if _process_of(path) not in dead:
            continue
        kind = path.stem.rpartition("_")[0]
        if kind.startswith("gauge"):
            path.unlink(missing_ok=True)  # a gauge shows a live process's state
        else:
            counted.setdefault(kind, []).append(path)
    for kind, paths in counted.items():
        _merge_kind(folder, kind, paths)
    for process in dead:
        (folder / f"{process}.alive").unlink(missing_ok=True)


def _merge_kind(folder: Path, kind: str, paths: list[Path]) -> None:
    """Add files to the merged file of their kind.

    With the journal, each file is added exactly once even if this process is killed meanwhile.
    """
    merged = folder / f"{kind}_{MERGED}.db"
    sources = [path for path in (merged, *paths) if path.exists() and _is_readable(path)]
    if broken := [path.name for path in paths if path not in sources]:
        logger.warning(
            "metrics files of dead processes are incomplete and were left out: %s", ", ".join(broken)
        )
    metrics = multiprocess.MultiProcessCollector.merge(map(str, sources), accumulate=False)  # type: ignore[no-untyped-call]
    new = folder / f"{kind}_{MERGED}.new"
    new.unlink(missing_ok=True)
    file = MmapedDict(str(new))  # type: ignore[no-untyped-call]
    for metric in metrics:
        for sample in metric.samples:
            names = sorted(sample.labels)
            key = _sample_key(metric, sample.name, {name: sample.labels[name] for name in names})
            file.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    journal = folder / f"{kind}.journal"
    written = {"merged": new.stat().st_ino, "sources": [path.name for path in paths]}
    beside = folder / f"{kind}.journal.new"
    beside.write_text(json.dumps(written))
    beside.replace(journal)
    new.replace(merged)
    for path in paths:
        path.unlink(missing_ok=True)
    journal.unlink()


def _sample_key(metric: Any, name: str, labels: dict[str, str]) -> str:
    """Return the key of a sample in the format of prometheus_client's files."""
    return json.dumps([metric.name, name, labels, metric.documentation], sort_keys=True)


def _finish_interrupted_merge(folder: Path) -> None:
    """Complete or forget the merge of a killed process.

    If the new merged file is in place, its sources are removed. Otherwise they are merged later.
    """
    for journal in folder.glob("*.journal"):
        try:
            written = json.loads(journal.read_text())
        except ValueError:  # the machine crashed while the journal was written
            written = {"merged": None, "sources": []}
        merged = folder / f"{journal.stem}_{MERGED}.db"
        if merged.exists() and merged.stat().st_ino == written["merged"]:
            for name in written["sources"]:
                (folder / name).unlink(missing_ok=True)
        journal.unlink()


def _is_readable(path: Path) -> bool:
    """Return whether a file is complete.

    A file that is being created is incomplete. A file of a killed process may stay incomplete.
    """
    try:
        for _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            pass
    except (OSError, RuntimeError, ValueError, struct.error):
        return False
    return True
