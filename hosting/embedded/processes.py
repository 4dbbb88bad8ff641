"""Processes that this process starts, and processes that an earlier run has left behind.

Each process leads its own session and process group. So Ctrl-C in the terminal reaches only this
process, which stops the others in order. Children of a process are in its group and end with it.
"""

import contextlib
import logging
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from hosting.embedded.privileges import Account, child_setup

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
_KILL_WAIT_SECONDS = 1.0

# A function that waits for the given seconds between two checks. It may raise to end the waiting.
Pause = Callable[[float], None]


class ProcessError(RuntimeError):
    """A process could not start or failed. The message is one line and says what to do."""


@dataclass(frozen=True)
class StopStep:
    """A signal, and the time in which the process must end before the next step."""

    signal: signal.Signals
    seconds: float


@contextlib.contextmanager
def data_folder_errors() -> Iterator[None]:
    """Turn an `OSError` about a file into a `ProcessError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise ProcessError(
            f"the data folder can't be used: {error.strerror}: {error.filename}. "
            "Change its owner to this user, or set EXCHANGE_DATA_DIR to another folder."
        ) from error


def make_private(folder: Path, account: Account | None) -> None:
    """Make a folder that only its owner can open.

    An existing folder must have the right owner and mode, because any user may make folders in
    /tmp.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    owners = {os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise ProcessError(
            f"{folder} must be a folder that only its owner can open, and the owner must be this user: remove it, "
            "or set EXCHANGE_DATA_DIR to a folder with a shorter path."
        )
    if account and found.st_uid != account.uid:
        account.own(folder)


@dataclass(eq=False, repr=False)
class OwnedProcess:
    """A program that this process starts, watches and stops.

    `together` are processes that are asked to stop at the same time as this one. The stop times of
    all begin then, so stopping them takes only as long as the slowest. `and_keep` is a mask of
    capabilities that this process needs in addition to its account's.
    """

    name: str
    command: Sequence[str]
    _: KW_ONLY
    stop_steps: Sequence[StopStep]
    death_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None
    and_keep: int = 0
    cpu: int | None = None
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    together: Sequence["OwnedProcess"] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    # When it was asked to stop, by the monotonic clock.
    _asked_at: float | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the program, after killing what remains of its last run.

        Its output goes to this process's stderr. Raises `ProcessError` if it can't be executed.
        """
        self.kill()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=2,
                start_new_session=True,
                cwd=self.folder,
                env=dict(self.environment) if self.environment is not None else None,
                # preexec_fn is safe: the process has no other threads when it starts children.
                preexec_fn=child_setup(  # noqa: PLW1509
                    account=self.account,
                    death_signal=self.death_signal,
                    cpu=self.cpu,
                    and_keep=self.and_keep,
                ),
            )
        except OSError as error:
            raise ProcessError(
                f"{self.name} could not be started from {self.command[0]}: {error.strerror}."
                f"{account_hint(self.account)}"
            ) from error

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the process and its group: run the steps in order, then send SIGKILL."""
        if self._process is None:
            return
        for each in (self, *self.together):
            each._ask_to_stop()
        deadline = self._asked_at or time.monotonic()
        for number, step in enumerate(self.stop_steps):
            if not self.is_running():
                break
            if number:
                _send_signal(self._process.pid, step.signal)
            deadline += step.seconds
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))
        if self.is_running():
            logger.warning("%s did not stop in time and is killed", self.name)
        self.kill()

    def _ask_to_stop(self) -> None:
        """Send the signal of the first step, if it was not sent before."""
        if self._process is not None and self._asked_at is None and self.is_running():
            self._asked_at = time.monotonic()
            _send_signal(self._process.pid, self.stop_steps[0].signal)

    def kill(self) -> None:
        """End the process and its group at once."""
        if self._process is None:
            return
        # macOS raises PermissionError for a dead group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._asked_at = None


def _send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # A suspended process would not handle the signal.


def account_hint(account: Account | None) -> str:
    """Return a sentence for messages about a failure that the change of account may have caused."""
    if account is None:
        return ""
    return (
        f" Started by root, it runs as {account.name}, which must be able to reach that path:"
        " start as an ordinary user, or set POSTGRES_URI and REDIS_URL to use other servers."
    )


def command_line(pid: int) -> str:
    """Return a process's command line, or an empty text if it does not exist or is a zombie."""
    try:
        if Path("/proc/self/cmdline").exists():
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        listed = subprocess.run(  # noqa: S603 - the only input is a number
            ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607 - found through PATH
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return "" if "<defunct>" in listed.stdout else listed.stdout.strip()


def read_pid(path: Path) -> int | None:
    """Return the process id in the first line of a file. None if there is no file or no number."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def stop_leftover(pid: int, *, marker: str, steps: Sequence[StopStep], pause: Pause) -> None:
    """Stop a process that is not a child, if its command line contains `marker`.

    Without the marker, it is another program that got the process id of a dead process.
    """
    for step in (*steps, StopStep(signal.SIGKILL, _KILL_WAIT_SECONDS)):
        if marker not in command_line(pid):
            return
        _send_signal(pid, step.signal)
        deadline = time.monotonic() + step.seconds
        while marker in command_line(pid) and time.monotonic() < deadline:
            pause(POLL_SECONDS)
