"""The embedded Valkey: started, awaited, stopped.

It writes nothing to disk, on purpose. An order is acknowledged after its commit in PostgreSQL and never
before, so whatever Valkey loses was never acknowledged, and the book's mirror and the channel layer are
rebuilt from the database. Full memory is an error for the writer (noeviction): a stream of orders from which
entries vanish would be worse.
"""

import signal
import time

import redis

from hosting.embedded.binaries import valkey_program
from hosting.embedded.kept_secrets import write_private
from hosting.embedded.locations import Locations
from hosting.embedded.privileges import Account
from hosting.embedded.processes import (
    POLL_SECONDS,
    OwnedProcess,
    Pause,
    ProcessError,
    StopStep,
    account_hint,
    data_folder_errors,
    make_private,
    read_pid,
    stop_leftover,
)

VALKEY_MEGABYTES_DEFAULT = 256
START_SECONDS_MAX = 60.0
STOP_STEPS = (StopStep(signal.SIGTERM, 0.8),)

SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "maxmemory-policy": "noeviction",
    "maxclients": "1000",
    "daemonize": "no",
    "set-proc-title": "no",  # the command line goes on to name the data folder
    "loglevel": "warning",
}


class ValkeyServer:
    """One Valkey on one data folder."""

    name = "valkey"

    def __init__(
        self,
        locations: Locations,
        account: Account | None,
        pause: Pause,
        *,
        cpu: int | None = None,
        megabytes: int = VALKEY_MEGABYTES_DEFAULT,
    ) -> None:
        self.pause = pause
        self.locations = locations
        self.data = locations.valkey_data
        self.account = account
        # A file of its own: Valkey warns about settings of the kernel that only matter to one that saves to
        # disk.
        self.log = self.data / "valkey.log"
        self.megabytes = megabytes
        self.configuration = (
            self.data / "valkey.conf"
        )  # the password: command lines are for everybody to read
        self.pid_file = self.data / "valkey.pid"
        self.process = OwnedProcess(
            self.name, self._command(), stop_steps=STOP_STEPS, account=account, cpu=cpu
        )

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises `ProcessError` where it does not start, and what `pause` raises.
        """
        with data_folder_errors():
            make_private(self.data, self.account)
            pid = read_pid(self.pid_file)
            if pid is not None:
                stop_leftover(pid, marker=f"--dir {self.data} ", steps=STOP_STEPS, pause=self.pause)
            self.log.unlink(missing_ok=True)
            password = self.locations.valkey_password
            write_private(self.configuration, f"requirepass {password}\n", self.account)
        self.process.start()
        self._await_answer()

    def is_running(self) -> bool:
        return self.process.is_running()

    def stop(self) -> None:
        self.process.stop()

    def _command(self) -> list[str]:
        settings = {
            "dir": str(self.data),
            "unixsocket": str(self.locations.valkey_socket),
            "pidfile": str(self.pid_file),
            "logfile": str(self.log),
            "maxmemory": f"{self.megabytes}mb",
            **SETTINGS,
        }
        arguments = [argument for name, value in settings.items() for argument in (f"--{name}", value)]
        return [str(valkey_program()), str(self.configuration), *arguments]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        with redis.Redis.from_url(self.locations.redis_url, socket_timeout=1.0) as client:
            while self.process.is_running() and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.RedisError:
                    self.pause(POLL_SECONDS)
                else:
                    return
        raise ProcessError(
            f"Valkey does not start on {self.data}: {self._last_words()}{account_hint(self.account)}"
        )

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            lines = []
        return lines[-1] if lines else "its message is above."
