"""The embedded servers together: what `serve` and the tests start and stop."""

import os
import stat
import time
from pathlib import Path
from types import TracebackType

from exchange_site.embedded.locations import Locations
from exchange_site.embedded.postgres import PostgresServer
from exchange_site.embedded.privileges import Account, server_account
from exchange_site.embedded.processes import Pause, ProcessError, data_folder_errors
from exchange_site.embedded.valkey import ValkeyServer


class EmbeddedServers:
    """PostgreSQL and Valkey on one data folder, either or both; also a context manager.

    One at a time per data folder: what an earlier run has left running there is stopped first.
    `pause(seconds)` is called while waiting, and may raise to give up. Valkey stays on `valkey_cpu`. PostgreSQL has
    connections for so many API processes.
    """

    def __init__(
        self,
        locations: Locations,
        *,
        postgres: bool = True,
        valkey: bool = True,
        valkey_cpu: int | None = None,
        api_processes: int = 1,
        pause: Pause = time.sleep,
    ) -> None:
        self.locations = locations
        self.account = server_account(locations.postgres_data, locations.data_dir)
        self.servers: list[PostgresServer | ValkeyServer] = []
        if postgres:
            self.servers.append(PostgresServer(locations, self.account, pause, api_processes))
        if valkey:
            self.servers.append(ValkeyServer(locations, self.account, pause, valkey_cpu))

    def start(self) -> None:
        """Start the servers and return once they answer.

        Raises `ProcessError` where a server does not start or a folder is not ours to use, and what `pause`
        raises. In both cases nothing is left running.
        """
        try:
            self.prepare()
            for server in self.servers:
                server.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the servers in reverse order; what is not running is left alone."""
        for server in reversed(self.servers):
            server.stop()

    def prepare(self) -> None:
        """Make the data folder and the sockets' private folder. Raises `ProcessError` where it can't."""
        with data_folder_errors():
            self.locations.data_dir.mkdir(parents=True, exist_ok=True)
            _make_private(self.locations.sockets, self.account)

    def __enter__(self) -> "EmbeddedServers":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _make_private(folder: Path, account: Account | None) -> None:
    """Make a folder for its owner alone. One that is there must be ours: anybody may make folders in /tmp."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    owners = {os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise ProcessError(
            f"{folder} must be a folder of ours that nobody else can open, and is not: remove it, "
            "or set EXCHANGE_DATA_DIR to a folder with a shorter path."
        )
    if account:
        account.own(folder)
