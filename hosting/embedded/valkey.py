"""The embedded Valkey: starts it, waits for its answer, and stops it.

It intentionally writes nothing to disk. An order is acknowledged only after its commit in
PostgreSQL, so no acknowledged order is lost with Valkey. The books' mirrors and the channel layer
are rebuilt. If its memory is full, writes fail (noeviction), because a stream of orders must not
lose entries.
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
_START_SECONDS_MAX = 60.0
STOP_STEPS = (StopStep(signal.SIGTERM, 0.8),)

_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "maxmemory-policy": "noeviction",
    "maxclients": "1000",
    "daemonize": "no",
    "set-proc-title": "no",  # The command line must keep the data folder.
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
        # Valkey has its own log file, because it warns about kernel settings that matter only for
        # saving to disk.
        self.log = self.data / "valkey.log"
        self.megabytes = megabytes
        # The password is in a file, because every user can read command lines.
        self.configuration = self.data / "valkey.conf"
        self.pid_file = self.data / "valkey.pid"
        self.process = OwnedProcess(
            self.name, self._command(), stop_steps=STOP_STEPS, account=account, cpu=cpu
        )

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises `ProcessError` if it does not start, and any exception of `pause`.
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
            **_SETTINGS,
        }
        arguments = [argument for name, value in settings.items() for argument in (f"--{name}", value)]
        return [str(valkey_program()), str(self.configuration), *arguments]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        with redis.Redis.from_url(self.locations.redis_url, socket_timeout=1.0) as client:
            while self.process.is_running() and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.RedisError:
                    self.pause(POLL_SECONDS)
                else:
                    return
        raise ProcessError(
            f"Valkey does not start on {self.data}: {self._last_log_line()}{account_hint(self.account)}"
        )

    def _last_log_line(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            lines = []
        return lines[-1] if lines else "see its message above."
