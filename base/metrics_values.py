"""Stores the metrics of a process in memory or in files.

GET /metrics reads the files of all processes. Every command imports the metrics, but only
long-running processes share them. When such a process calls `share_counts`, its metrics move into
files that are mapped into memory. A short command leaves no files.

This module replaces prometheus_client's multi-process values, which open their files when a metric
is defined. The format of the files is the same.
"""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict, mmap_key

_lock = threading.Lock()
_values: list["SharedValue"] = []  # all values of this process
_files: dict[str, MmapedDict] = {}  # by kind; empty while the metrics are in memory
_place: tuple[Path, str] | None = None  # the folder, and this process's name in file names


ENTRY_BYTES_MAX = 28  # bytes of a series in addition to its key: length, padding, value and time
FILE_BYTES = 1 << 16  # size of a new file, which doubles when the file is full


class CountsFile(MmapedDict):
    """A metrics file that reserves disk space before it is written.

    Without reserved space, a write to the mapped file on a full disk would kill the process with
    SIGBUS.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        with open(path, "ab") as file:
            _reserve(file.fileno(), max(FILE_BYTES, os.fstat(file.fileno()).st_size))
        super().__init__(path)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        """Add a series to the file. Raises OSError; the file is unchanged then."""
        needed = self._used + len(key.encode()) + ENTRY_BYTES_MAX
        bytes_reserved = self._capacity
        while bytes_reserved < needed:
            bytes_reserved *= 2
        if bytes_reserved > self._capacity:
            _reserve(self._f.fileno(), bytes_reserved)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _reserve(file: int, bytes_wanted: int) -> None:
    if hasattr(os, "posix_fallocate"):  # macOS does not have it
        os.posix_fallocate(file, 0, bytes_wanted)


class SharedValue:
    """One value of one series. It replaces prometheus_client's `values.ValueClass`."""

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
                with contextlib.suppress(OSError):  # if the disk is full, the value stays in memory
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
        """Ignore exemplars: the file format has no place for them."""

    def get_exemplar(self) -> None:
        return None

    def _move_to_file(self, folder: Path, process: str) -> None:
        """Keep this value in a file from now on. The caller holds the lock. Raises OSError."""
        file = _files.get(self._kind)
        if file is None:
            path = str(folder / f"{self._kind}_{process}.db")
            file = _files[self._kind] = CountsFile(path)
        file.write_value(self._key, self._value, self._timestamp)  # type: ignore[no-untyped-call]
        self._file = file


def move_counts_to_files(folder: Path, process: str) -> None:
    """Keep this process's metrics in files of the folder from now on.

    Raises OSError; the metrics stay in memory then.
    """
    global _place  # noqa: PLW0603 - a process has one place
    with _lock:
        if _place is not None:
            return
        _place = folder, process
        try:
            for value in _values:
                value._move_to_file(folder, process)
        except OSError:
            _move_back_to_memory()
            raise


def _move_back_to_memory() -> None:
    global _place  # noqa: PLW0603
    _place = None
    _files.clear()
    for value in _values:
        value._file = None


def _after_fork() -> None:
    """Reset the metrics of a forked process to zero in memory: the files belong to its parent."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    _move_back_to_memory()
    for value in _values:
        value._value = 0.0


os.register_at_fork(after_in_child=_after_fork)
