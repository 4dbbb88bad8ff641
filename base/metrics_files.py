"""The folder through which processes share their counts, also processes of several containers.

Each process has files of its own, named after its host, its number, and a random part, and holds a lock (flock) on
its `.alive` file. The kernel releases the lock when the process ends, however it ends, and shows it to everyone who
shares the folder: no clock, no process number and no host name has to be compared, and none of them tells the
processes of two containers apart. On Linux that holds for containers of one machine on any volume, and for NFS.

What a dead process has counted is merged into one file of each kind, `_merged.db`, and what it said of live things
is removed. So there are as many files as live processes, and the counts stay. Whoever starts or reads does that,
one at a time, under the lock `.turn`.

Files: `counter_<process>.db`, `histogram_<process>.db`, `summary_<process>.db`, `gauge_<mode>_<process>.db`.
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

MERGED = "merged"  # in place of the process's name
POLL_SECONDS = 0.02
READ_ATTEMPTS_MAX = 5

_merge_outage = Outage(logger, "EXCHANGE_METRICS_DIR: the counts of dead processes can't be merged")

_alive_file: int | None = None  # of this process; open, and thereby locked, as long as it lives


def share_counts() -> None:
    """Share this process's counts from now on. It is for processes that serve; others must leave no files.

    If the folder can't be used the log is told, and the process goes on without.
    """
    global _alive_file  # noqa: PLW0603 - a process has one
    if _alive_file is not None:
        return
    folder = Path(settings.ENVIRONMENT_METRICS_DIR)
    host = socket.gethostname().replace("_", "-")  # names end at an underscore
    process = f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        merge_dead_processes(folder)
        _alive_file = _lock_new(folder / f"{process}.alive")
        move_counts_to_files(folder, process)
    except OSError as error:
        logger.warning("this process's metrics are not shared: EXCHANGE_METRICS_DIR can't be used: %s", error)


def _forget_alive_file() -> None:
    """A fork is another process: as long as it kept the file open, its dead parent would count as alive."""
    global _alive_file  # noqa: PLW0603
    if _alive_file is not None:
        os.close(_alive_file)
        _alive_file = None


os.register_at_fork(after_in_child=_forget_alive_file)


def merge_dead_processes(folder: Path) -> None:
    """Merge what dead processes have counted, and remove their files. Raises OSError if the folder can't be used.

    Does nothing if another process holds the turn for METRICS_LOCK_SECONDS_MAX, for example because it is frozen.
    """
    with _turn(folder) as is_ours:
        if is_ours:
            _merge(folder)


def collect(folder: Path) -> list[Any]:
    """The metrics of all processes, after those of dead ones are merged. Raises OSError."""
    with _turn(folder) as is_ours:
        if is_ours:
            try:
                _merge(folder)
            except OSError as error:
                _merge_outage.failed(error)
            else:
                _merge_outage.ended()
        for _ in range(READ_ATTEMPTS_MAX):
            paths = [path for path in _metric_files(folder) if _is_readable(path)]
            with contextlib.suppress(FileNotFoundError):  # without the turn: another process has merged it
                return list(multiprocess.MultiProcessCollector.merge(map(str, paths)))  # type: ignore[no-untyped-call]
    raise FileNotFoundError(f"files of {folder} went while they were read")


def forget_counts(folder: Path) -> None:
    """Remove what dead processes have counted. Raises OSError."""
    with _turn(folder) as is_ours:
        if is_ours:
            _merge(folder)
            for path in folder.glob(f"*_{MERGED}.db"):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[bool]:
    """Whether it is ours to change the folder's files. Raises OSError."""
    try:
        file = os.open(folder / ".turn", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:  # it is another user's folder
        yield False
        return
    try:
        yield _lock(file, seconds=settings.METRICS_LOCK_SECONDS_MAX)
    finally:
        os.close(file)


def _lock(file: int, *, seconds: float = 0.0) -> bool:
    """Lock an open file, or return False if somebody else holds the lock for so long."""
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
        os.close(file)  # somebody looked between the two steps, found it unlocked, and has removed it


def _is_linked(file: int, path: Path) -> bool:
    try:
        return os.fstat(file).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _metric_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_*.db"))


def _process_of(path: Path) -> str:
    """The last part of the name."""
    return path.stem.rpartition("_")[2]


def _is_alive(folder: Path, process: str) -> bool:
    """Whether the process holds its lock. It does so before it makes its other files."""
    try:
        file = os.open(folder / f"{process}.alive", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's: not ours to remove
    try:
        return not _lock(file)
    finally:
        os.close(file)


def _merge(folder: Path) -> None:
    """The caller has the turn."""
    _end_interrupted_merge(folder)
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
            path.unlink(missing_ok=True)  # what is alive no more has no state
        else:
            counted.setdefault(kind, []).append(path)
    for kind, paths in counted.items():
        _merge_kind(folder, kind, paths)
    for process in dead:
        (folder / f"{process}.alive").unlink(missing_ok=True)


def _merge_kind(folder: Path, kind: str, paths: list[Path]) -> None:
    """Add files to the merged one. The journal makes it happen once even if this process is killed meanwhile."""
    merged = folder / f"{kind}_{MERGED}.db"
    sources = [path for path in (merged, *paths) if path.exists() and _is_readable(path)]
    if broken := [path.name for path in paths if path not in sources]:
        logger.warning("metrics of dead processes are not whole, and are left out: %s", ", ".join(broken))
    metrics = multiprocess.MultiProcessCollector.merge(map(str, sources), accumulate=False)  # type: ignore[no-untyped-call]
    new = folder / f"{kind}_{MERGED}.new"
    new.unlink(missing_ok=True)
    file = MmapedDict(str(new))  # type: ignore[no-untyped-call]
    for metric in metrics:
        for sample in metric.samples:
            names = sorted(sample.labels)
            key = _key(metric, sample.name, {name: sample.labels[name] for name in names})
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


def _key(metric: Any, name: str, labels: dict[str, str]) -> str:
    """What prometheus_client writes for a sample."""
    return json.dumps([metric.name, name, labels, metric.documentation], sort_keys=True)


def _end_interrupted_merge(folder: Path) -> None:
    """If the merged file is in its place, its sources are to go; otherwise they are still to be merged."""
    for journal in folder.glob("*.journal"):
        try:
            written = json.loads(journal.read_text())
        except ValueError:  # the machine has crashed
            written = {"merged": None, "sources": []}
        merged = folder / f"{journal.stem}_{MERGED}.db"
        if merged.exists() and merged.stat().st_ino == written["merged"]:
            for name in written["sources"]:
                (folder / name).unlink(missing_ok=True)
        journal.unlink()


def _is_readable(path: Path) -> bool:
    """Whether the file is whole. One that is just being made is not yet; one of a killed process may never be."""
    try:
        for _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            pass
    except (OSError, RuntimeError, ValueError, struct.error):
        return False
    return True
