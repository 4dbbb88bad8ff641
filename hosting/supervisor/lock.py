"""Allows one `serve` for each data folder, and kills remaining children of an earlier one."""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

from hosting.embedded.processes import POLL_SECONDS, Pause, ProcessError, data_folder_errors

_LEFTOVER_SECONDS_MAX = 5.0

# The children of `serve` and their children have this variable. Its value is the data folder.
MARKER = "EXCHANGE_SERVED_FROM"


class FolderLock:
    """A lock on the data folder. The system releases it when its holder ends in any way."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises `ProcessError` if another process holds it or the folder can't be used.
        """
        path = self.data_dir / "serve.lock"
        with data_folder_errors():
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
            raise ProcessError(
                f"another serve (process {holder}) runs on {self.data_dir}: "
                "stop it, or set EXCHANGE_DATA_DIR and PORT for a second exchange."
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)


def stop_leftovers(data_dir: Path, pause: Pause) -> None:
    """Kill the worker and API processes of an earlier `serve` on this folder.

    The caller holds the lock. By design these processes may be killed at any moment. Only Linux
    shows the variables of other processes. On other systems, if `serve` was killed, they must be
    stopped by hand.
    """
    deadline = time.monotonic() + _LEFTOVER_SECONDS_MAX
    killed: set[int] = set()
    while (marked := _find_marked(data_dir)) or any(map(_may_hold_resources, killed)):
        if time.monotonic() > deadline:
            raise ProcessError(
                f"processes of an earlier serve do not end: {sorted(marked | killed)}. Kill them."
            )
        for pid in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= marked
        pause(POLL_SECONDS)


def _may_hold_resources(pid: int) -> bool:
    """Return whether a process may still hold files and ports.

    A process that ends loses its variables before its files. Its first thread may end before the
    others, and the files stay open until the last thread has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    state, threads = fields[0], int(fields[17])
    return state not in ("Z", "X") or threads > 1


def _find_marked(data_dir: Path) -> set[int]:
    wanted = f"{MARKER}={data_dir}".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # The process has ended, or belongs to another user.
            if wanted in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found - {os.getpid()}
