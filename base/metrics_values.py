"""Where the counts of a process are: in memory, or in files from which GET /metrics reads those of all processes.

Every command imports the metrics, but only a process that serves for long shares them: it calls `share_counts`, and
its counts so far move into files that are mapped into memory. A short command leaves no file behind.

This replaces prometheus_client's multi-process values, whose format of files it keeps: they open their files when a
metric is defined.
"""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict, mmap_key

_lock = threading.Lock()
_values: list["SharedValue"] = []  # of this process
_files: dict[str, MmapedDict] = {}  # by kind; none as long as the counts are in memory
_place: tuple[Path, str] | None = None  # folder and the process's name there


ENTRY_BYTES_MAX = 28  # of a series beside its key: length, padding, value and time
FILE_BYTES = 1 << 16  # of a new file; it doubles if it is full


class CountsFile(MmapedDict):
    """A file whose pages are reserved on the disk before they are written.

    Without that, writing to a page of the mapping on a full disk would kill the process with SIGBUS.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        with open(path, "ab") as file:
            _reserve(file.fileno(), max(FILE_BYTES, os.fstat(file.fileno()).st_size))
        super().__init__(path)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        """Raises OSError; the file is as it was then."""
        needed = self._used + len(key.encode()) + ENTRY_BYTES_MAX
        bytes_reserved = self._capacity
        while bytes_reserved < needed:
            bytes_reserved *= 2
        if bytes_reserved > self._capacity:
            _reserve(self._f.fileno(), bytes_reserved)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _reserve(file: int, bytes_wanted: int) -> None:
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(file, 0, bytes_wanted)


class SharedValue:
    """One number of one series, as prometheus_client's `values.ValueClass`."""

    _multiprocess = True

    def __init__(  # noqa: PLR0917 - prometheus_client calls it so
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Any,
        labelvalues: Any,
        help_text: str,
        multiprocess_mode: str = "",
        **kwargs: Any,
    ) -> None:
        self._kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
        self._value = 0.0
        self._timestamp = 0.0
        self._file: MmapedDict | None = None
        with _lock:
            _values.append(self)
            if _place is not None:
                with contextlib.suppress(OSError):  # without room on the disk it is counted in memory
                    self._move_to_file(*_place)

    def inc(self, amount: float) -> None:
        with _lock:
            self._value += amount
            self._timestamp = 0.0
            if self._file is not None:
                self._file.write_value(self._key, self._value, 0.0)  # type: ignore[no-untyped-call]

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _lock:
            self._value = value
            self._timestamp = timestamp or 0.0
            if self._file is not None:
                self._file.write_value(self._key, value, self._timestamp)  # type: ignore[no-untyped-call]

    def get(self) -> float:
        return self._value

    def set_exemplar(self, exemplar: Any) -> None:
        """The files have no room for it."""

    def get_exemplar(self) -> None:
        return None

    def _move_to_file(self, folder: Path, process: str) -> None:
        """The caller holds the lock. Raises OSError."""
        file = _files.get(self._kind)
        if file is None:
            path = str(folder / f"{self._kind}_{process}.db")
            file = _files[self._kind] = CountsFile(path)
        file.write_value(self._key, self._value, self._timestamp)  # type: ignore[no-untyped-call]
        self._file = file


def move_counts_to_files(folder: Path, process: str) -> None:
    """Keep this process's counts in files of the folder from now on. Raises OSError; they stay in memory then."""
    global _place  # noqa: PLW0603 - a process has one place
    with _lock:
        if _place is not None:
            return
        _place = folder, process
        try:
            for value in _values:
                value._move_to_file(folder, process)
        except OSError:
            _leave_files()
            raise


def _leave_files() -> None:
    global _place  # noqa: PLW0603
    _place = None
    _files.clear()
    for value in _values:
        value._file = None


def _after_fork() -> None:
    """The files are the parent's: a fork counts for itself, from nothing."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    _leave_files()
    for value in _values:
        value._value = 0.0


os.register_at_fork(after_in_child=_after_fork)
