"""A real exchange for tests: `manage.py serve` with a data folder and a port of its own.

with RunningExchange() as exchange:
    httpx.get(exchange.url + "/orderbook")
"""

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from base.times import time_text
from hosting.embedded.locations import Locations
from hosting.embedded.privileges import child_setup
from tests.environment import SHARED_DIR, exchange_variables
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
NOT_INSTALLED = Path(__file__).with_name("not_installed")
START_SECONDS_MAX = PATIENCE_SECONDS
# `serve` promises to stop within this time. Shortly before, it kills the processes that have not
# ended: tests/hosting/test_processes.py adds up these times. An exchange of a test may take longer,
# because the machine may be slow.
STOP_SECONDS_MAX = 10.0
COMMAND_SECONDS_MAX = 300
POLL_SECONDS = 0.02
PAUSE_RATIO = 5  # a pause's length, divided by the time that the condition before it took

Result = TypeVar("Result")


def wait_until(condition: Callable[[], object], state: str, seconds_max: float = PATIENCE_SECONDS) -> None:
    """Return when the condition holds. Fail if it does not hold within `seconds_max`.

    `state` says in words what the condition means. A condition may be expensive: some list all
    processes of the machine. The pauses between its calls are long enough that most of the processor
    is left to the exchange that the test waits for.
    """
    deadline = time.monotonic() + seconds_max
    while True:
        called = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"not within {seconds_max:.0f} s: {state}")
        time.sleep(max(POLL_SECONDS, PAUSE_RATIO * (now - called)))


def manage(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the commands of `manage.py` to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def is_gone(process: psutil.Process) -> bool:
    """Return whether a process has ended. A zombie has ended, too."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def of_each(processes: Iterable[psutil.Process], read: Callable[[psutil.Process], Result]) -> list[Result]:
    """Return what `read` returns for each process. Those that end meanwhile are left out.

    PostgreSQL starts and ends processes by itself, for example to vacuum tables.
    """
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            found.append(read(process))
    return found


@contextlib.contextmanager
def frozen(*parts: psutil.Process) -> Iterator[None]:
    """Suspend the processes and all their descendants until the block ends.

    A process may start others before its turn, so they are listed until none is new. One may also
    end before its turn, as PostgreSQL's do.
    """
    suspended: list[psutil.Process] = []
    try:
        while new := [
            process
            for part in parts
            for process in (part, *part.children(recursive=True))
            if process not in suspended
        ]:
            for process in new:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
            suspended += new
        yield
    finally:
        for process in suspended:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@functools.cache
def prepared_folder() -> Path:
    """Return a data folder that an exchange has used. On a copy of it, `serve` opens in half the time.

    The first process of a test run that needs the folder makes it, and the other processes wait.
    """
    folder, log = SHARED_DIR / "prepared", SHARED_DIR / "prepared.log"
    with (SHARED_DIR / "prepared-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left over from a process that failed
            with RunningExchange(folder) as exchange:
                assert exchange.stop() == 0, exchange.log()
                log.write_text(exchange.log())
    return folder


def prepared_log() -> str:
    """Return the output of the exchange that made the prepared folder."""
    return prepared_folder().with_suffix(".log").read_text()


def copy_prepared_folder(to: Path) -> Path:
    """Copy the prepared data folder, which has no orders or trades, and return the copy."""
    to.mkdir(parents=True, exist_ok=True)
    # `shutil.copytree` would not keep the files' owners.
    subprocess.run(["cp", "-a", f"{prepared_folder()}/.", to], check=True)
    return to


def _child_setup() -> Callable[[], None]:
    prepare = child_setup(account=None, death_signal=signal.SIGTERM)

    def prepare_serve() -> None:
        prepare()
        # A program that was started under nohup ignores SIGHUP, with which some tests stop `serve`.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    return prepare_serve


class RunningExchange:
    """One `manage.py serve`. It runs from `start` until `stop` or `kill`, and can be started again.

    Without a `data_dir`, it uses a copy of the prepared data folder, and removes the copy in the end.
    `variables` are added to its environment. The rate limit is off unless they say otherwise.
    The package `requests` can't be imported, as after `make run`: Django REST framework imports it if
    it is installed, and that would take a fifth of an API process's start.
    """

    def __init__(self, data_dir: Path | None = None, variables: Mapping[str, str] | None = None) -> None:
        self._made = (
            None if data_dir else copy_prepared_folder(Path(tempfile.mkdtemp(prefix="exchange-system-")))
        )
        self.data_dir = data_dir or self._made or Path()
        self.environment = exchange_variables(self.data_dir)
        for name in ("POSTGRES_URI", "REDIS_URL", "DJANGO_SECRET_KEY"):
            self.environment.pop(name, None)
        self.environment |= {
            "EXCHANGE_RATE_LIMIT": "off",
            "PYTHONPATH": str(NOT_INSTALLED),
            **(variables or {}),
        }
        self.port = int(self.environment["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/stream"
        self.process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.NamedTemporaryFile(prefix="exchange-log-")  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> "RunningExchange":
        try:
            self.start()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._clean()

    def start(self) -> None:
        """Start, and return once the exchange is open. If it ends before that, fail with its log."""
        self.launch()
        started = self.process
        assert started is not None
        wait_until(
            lambda: self.is_open() or started.poll() is not None,
            f"the exchange is open\n{self.log()}",
            START_SECONDS_MAX,
        )
        if started.poll() is not None:
            raise AssertionError(f"serve ended with status {started.returncode}:\n{self.log()}")

    def launch(self) -> None:
        """Start with an empty log, and return at once."""
        self._log.truncate(0)
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._append(),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_child_setup(),  # noqa: PLW1509
        )

    def await_health(self) -> None:
        """Return once a check of health that began after this call succeeds.

        The exchange shares a result for half a second, so shortly after a part was killed it may
        still answer that it is healthy. A killed worker's heartbeat lasts up to 2 s: after its end,
        an order that is matched shows more.
        """
        called = time_text(datetime.now(UTC))

        def is_healthy() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.get("/healthz")
                return answer.status_code == 200 and answer.json()["timestamp"] > called
            return False

        wait_until(is_healthy, f"{self.url} is healthy")

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET request. httpx itself would give up after 5 s."""
        return httpx.get(self.url + path, timeout=PATIENCE_SECONDS, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST request. httpx itself would give up after 5 s."""
        return httpx.post(self.url + path, timeout=PATIENCE_SECONDS, **options)

    def is_open(self) -> bool:
        return "The exchange is open" in self.log()

    def log(self) -> str:
        """Return the output since the last start."""
        return Path(self._log.name).read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Return `serve` itself and all its descendants."""
        if self.process is None:
            return []
        try:
            serve = psutil.Process(self.process.pid)
            return [serve, *serve.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def child(self, word: str) -> psutil.Process | None:
        """Return the topmost descendant of `serve` with `word` in its command line, or None."""
        for process in self.processes()[1:]:
            with contextlib.suppress(psutil.Error):
                if word in " ".join(process.cmdline()) and not is_gone(process):
                    return process
        return None

    def part(self, word: str) -> psutil.Process:
        """Return the same process as `child`. Fail if no such process runs."""
        process = self.child(word)
        assert process is not None, f"no process has {word} in its command line\n{self.log()}"
        return process

    def worker_pid(self) -> int:
        """Return the process id of the matching worker."""
        return self.part("run_matching").pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the process group, as a terminal's Ctrl-C does, and return the exit status.

        Fail if one of the processes is still running after PATIENCE_SECONDS.
        """
        if self.process is None:
            return 0
        processes = self.processes()
        os.killpg(self.process.pid, number)
        self._await_end(processes)
        return self.process.wait()

    def kill(self) -> None:
        """Kill every process with SIGKILL."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._await_end(processes)

    def kill_serve(self) -> None:
        """Kill `serve` alone with SIGKILL. Fail if a descendant outlives it by PATIENCE_SECONDS."""
        assert self.process is not None
        processes = self.processes()
        self.process.kill()
        self._await_end(processes)

    def _append(self) -> int:
        return os.open(self._log.name, os.O_WRONLY | os.O_APPEND)

    def _await_end(self, processes: list[psutil.Process]) -> None:
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_SECONDS)
        try:
            wait_until(lambda: all(map(is_gone, processes)), f"all of {processes} are gone")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def _clean(self) -> None:
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self.kill()
            self._log.close()
            shutil.rmtree(Locations(self.data_dir).sockets, ignore_errors=True)
            if self._made:
                shutil.rmtree(self._made, ignore_errors=True)
