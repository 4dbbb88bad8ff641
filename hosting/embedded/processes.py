"""Processes that we start, and those that an earlier run of us has left behind.

Each process leads a session and process group of its own, so that Ctrl-C in the terminal reaches us alone and
we stop the others in order. Whatever it has started itself is in its group, and gone when it is gone.
"""

import contextlib
import logging
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hosting.embedded.privileges import Account, child_setup

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
KILL_WAIT_SECONDS = 1.0

# Waits for so many seconds between two looks at something. The caller's may raise, to leave the wait for
# good.
Pause = Callable[[float], None]


class ProcessError(RuntimeError):
    """A process could not be started or did not do its work; the message is one line and says what to do."""


@dataclass(frozen=True)
class StopStep:
    """A signal, and how long to wait for the process to end before the next step."""

    signal: signal.Signals
    seconds: float


@contextlib.contextmanager
def data_folder_errors() -> Iterator[None]:
    """Turn an `OSError` about a file of ours into a `ProcessError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise ProcessError(
            f"the data folder can't be used: {error.strerror}: {error.filename}. "
            "Make it yours, or set EXCHANGE_DATA_DIR to another folder."
        ) from error


def make_private(folder: Path, account: Account | None) -> None:
    """Make a folder for its owner alone. One that is there must be ours: anybody may make folders in /tmp."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    owners = {os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise ProcessError(
            f"{folder} must be a folder of ours that nobody else can open, and is not: remove it, "
            "or set EXCHANGE_DATA_DIR to a folder with a shorter path."
        )
    if account and found.st_uid != account.uid:
        account.own(folder)


class OwnedProcess:
    """A program that we start, look after and stop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        stop_steps: Sequence[StopStep],
        death_signal: signal.Signals = signal.SIGKILL,
        account: Account | None = None,
        and_keep: int = 0,
        cpu: int | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        together: Sequence["OwnedProcess"] = (),
    ) -> None:
        """`together` are asked to stop when this one is: the time of each begins then, so that all take no longer
        than the one that takes longest.

        `and_keep` are capabilities that it needs beyond those of its account, as a mask.
        """
        self.name = name
        self.together = together
        self.command = list(command)
        self.stop_steps = stop_steps
        self.death_signal = death_signal
        self.account = account
        self.and_keep = and_keep
        self.cpu = cpu
        self.environment = environment
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_at: float | None = None  # to stop; of the monotonic clock

    def start(self) -> None:
        """Start the program, after ending what is left of its last run. Its output goes to our stderr.

        Raises `ProcessError` where it can't be executed.
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
                # No thread runs where we start children.
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
        """End the process and its group: the steps one after the other, then SIGKILL."""
        if self._process is None:
            return
        for each in (self, *self.together):
            each._ask_to_stop()
        deadline = self._asked_at or time.monotonic()
        for number, step in enumerate(self.stop_steps):
            if not self.is_running():
                break
            if number:
                _send(self._process.pid, step.signal)
            deadline += step.seconds
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))
        if self.is_running():
            logger.warning("%s did not stop in time and is killed", self.name)
        self.kill()

    def _ask_to_stop(self) -> None:
        """Send the signal of the first step, once."""
        if self._process is not None and self._asked_at is None and self.is_running():
            self._asked_at = time.monotonic()
            _send(self._process.pid, self.stop_steps[0].signal)

    def kill(self) -> None:
        """End the process and its group at once."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: not permitted on a dead group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._asked_at = None


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # one that is suspended would not notice


def account_hint(account: Account | None) -> str:
    """A sentence for messages about a failure that the change of account may have caused."""
    if account is None:
        return ""
    return (
        f" As we are root it runs as {account.name}, which must be able to reach that path:"
        " run as an ordinary user, or set POSTGRES_URI and REDIS_URL to use other servers."
    )


def command_line(pid: int) -> str:
    """The command line of a process; empty where there is no such process, or only its zombie."""
    try:
        if Path("/proc/self/cmdline").exists():
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        listed = subprocess.run(  # noqa: S603 - a number is all that we pass
            ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607 - wherever the system keeps it
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return "" if "<defunct>" in listed.stdout else listed.stdout.strip()


def read_pid(path: Path) -> int | None:
    """The process id in the first line of a file; None where there is no file or no number in it."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def stop_leftover(pid: int, *, marker: str, steps: Sequence[StopStep], pause: Pause) -> None:
    """Stop a process that is not our child, if its command line contains `marker`.

    The marker tells it from a stranger that has been given the number of a dead process of ours.
    """
    for step in (*steps, StopStep(signal.SIGKILL, KILL_WAIT_SECONDS)):
        if marker not in command_line(pid):
            return
        _send(pid, step.signal)
        deadline = time.monotonic() + step.seconds
        while marker in command_line(pid) and time.monotonic() < deadline:
            pause(POLL_SECONDS)
