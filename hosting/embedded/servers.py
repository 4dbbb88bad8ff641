"""Both embedded servers together, as `serve` and the tests start and stop them."""

import time
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from hosting.embedded.accounts import prepare_account, with_needed_capability
from hosting.embedded.binaries import postgres_program, valkey_program
from hosting.embedded.locations import Locations
from hosting.embedded.postgres import PostgresServer
from hosting.embedded.privileges import Account
from hosting.embedded.processes import Pause, data_folder_errors, make_private
from hosting.embedded.valkey import VALKEY_MEGABYTES_DEFAULT, ValkeyServer


@dataclass(eq=False)
class EmbeddedServers:
    """PostgreSQL, Valkey or both on one data folder. Also a context manager.

    A data folder may have only one running server of each kind, so servers of an earlier run are
    stopped first. `pause(seconds)` is called while waiting, and may raise to end the waiting.
    Valkey stays on `valkey_cpu` and uses at most `valkey_megabytes` of memory. PostgreSQL has
    `api_connections` for API processes, in addition to all others. With `creates_databases`, which
    tests need, the exchange's role may create databases.
    """

    locations: Locations
    _: KW_ONLY
    postgres: bool = True
    valkey: bool = True
    valkey_cpu: int | None = None
    valkey_megabytes: int = VALKEY_MEGABYTES_DEFAULT
    api_connections: int = 20
    creates_databases: bool = False
    pause: Pause = time.sleep
    account: Account | None = field(default=None, init=False)
    servers: list[PostgresServer | ValkeyServer] = field(default_factory=list, init=False)

    def start(self) -> None:
        """Start the servers and return once they answer.

        Raises `ProcessError` if a server does not start or a folder has another owner, and any
        exception of `pause`. In all these cases no server is left running.
        """
        try:
            self.prepare()
            for server in self.servers:
                server.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the running servers in reverse order."""
        for server in reversed(self.servers):
            server.stop()

    def prepare(self, *folders: Path) -> None:
        """Make the data folder and the sockets' private folder, and choose the servers' account.

        `folders` are given to the same account. Raises `ProcessError` if a folder can't be used.
        """
        with data_folder_errors():
            self.account = prepare_account(self.locations, *folders)
            make_private(self.locations.sockets, self.account)
        if self.postgres:
            self.servers.append(
                PostgresServer(
                    self.locations,
                    self._account_for(postgres_program("postgres")),
                    self.pause,
                    api_connections=self.api_connections,
                    creates_databases=self.creates_databases,
                )
            )
        if self.valkey:
            self.servers.append(
                ValkeyServer(
                    self.locations,
                    self._account_for(valkey_program()),
                    self.pause,
                    cpu=self.valkey_cpu,
                    megabytes=self.valkey_megabytes,
                )
            )
        processes = [server.process for server in self.servers]
        for process in processes:  # All are asked to stop at the same time.
            process.together = processes

    def _account_for(self, program: Path) -> Account | None:
        return with_needed_capability(self.account, self.locations.data_dir, program)

    def __enter__(self) -> "EmbeddedServers":
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
