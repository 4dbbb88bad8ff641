"""The embedded PostgreSQL: creates its cluster, role and database once, starts it and stops it.

- It is durable: fsync and synchronous commit are on.
- It listens only on a unix socket in a private folder, and needs a password (see locations.py).
- The exchange's role owns its database and is not a superuser, so it reads and writes no files.
- The superuser only sets up the role. It has no password. Instead the socket identifies the
  system's user, and only the user that started the exchange may connect as superuser. So if root
  starts the exchange, no process is superuser of the database after root was given up.
- It is configured for a small machine: 64 MB of buffers and few processes.

A cluster is created in a temporary folder and renamed, so an incomplete one is never started. The
first start takes about two seconds, later ones less than one. After a crash PostgreSQL first syncs
its files and reads up to _MAX_WAL_SIZE of its log.
"""

import contextlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg import sql

from hosting.embedded.accounts import give_tree, has_entry, named_account
from hosting.embedded.binaries import postgres_program
from hosting.embedded.kept_secrets import write_private
from hosting.embedded.locations import POSTGRES_DATABASE, POSTGRES_PORT, POSTGRES_USER, Locations
from hosting.embedded.privileges import LINUX, Account, child_setup
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

logger = logging.getLogger(__name__)

SUPERUSER = "postgres"
_START_SECONDS_MAX = 60.0
_START_ATTEMPTS_MAX = 3
_START_RETRY_SECONDS = 1.0
_MAX_WAL_SIZE = "512MB"
_STATUS_LINE = 7  # The status is in this line of postmaster.pid, counted from 0.

# The contents of pg_hba.conf. All other connections are refused.
_ACCESS = f"""local all {SUPERUSER} peer map=starter
local all all scram-sha-256
"""

# Connections of workers, operators' commands and other programs. API processes have further ones.
_CONNECTIONS_MAX = 40

_SETTINGS = {
    "listen_addresses": "",
    "port": str(POSTGRES_PORT),
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # After a crash PostgreSQL syncs all its files before it reads its log. On Linux one call does
    # so instead of a thousand. Linux reports errors of this call since version 5.8.
    **({"recovery_init_sync_method": "syncfs"} if LINUX else {}),
    # For a small machine.
    "shared_buffers": "64MB",
    "max_wal_size": _MAX_WAL_SIZE,
    "min_wal_size": "128MB",
    "jit": "off",
    "autovacuum": "on",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",  # No additional processes for reading.
    # There are no replicas.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m postgres %p ",
    # The client of a failed statement logs the error. Duplicate keys are expected and not logged.
    "log_min_messages": "fatal",
}

# SIGINT ends the sessions and writes a checkpoint. SIGQUIT leaves the checkpoint to the next start.
# Both keep every committed transaction.
STOP_STEPS = (StopStep(signal.SIGINT, 1.5), StopStep(signal.SIGQUIT, 0.5))
_LEFTOVER_STOP_STEPS = (StopStep(signal.SIGINT, 10.0), StopStep(signal.SIGQUIT, 5.0))


class PostgresServer:
    """One PostgreSQL on one data folder."""

    name = "postgres"

    def __init__(
        self,
        locations: Locations,
        account: Account | None,
        pause: Pause,
        *,
        api_connections: int,
        creates_databases: bool = False,
    ) -> None:
        self.creates_databases = creates_databases
        self.connections_max = _CONNECTIONS_MAX + api_connections
        self.pause = pause
        self.locations = locations
        self.data = locations.postgres_data
        self.account = account
        self._is_set_up = False
        self.process = OwnedProcess(
            self.name,
            self._command(),
            stop_steps=STOP_STEPS,
            death_signal=signal.SIGINT,
            account=account,
            environment=_environment(),
        )

    def start(self) -> None:
        """Start the server and return once it answers and the role and the database exist.

        Raises `ProcessError` if it does not start, and any exception of `pause`.
        """
        with data_folder_errors():
            self._stop_leftover()
            if not self.data.exists():
                logger.info("creating the database, which takes some seconds")
                self._make_cluster()
            if not self._is_set_up:
                self._write_access_rules()
        self._start_process()
        if self._is_set_up:  # If root was given up since, this process can't be superuser.
            return
        try:
            self._ensure_database()
            self._is_set_up = True
        except psycopg.Error as error:
            raise ProcessError(
                f"PostgreSQL on {self.data} has started but can't be set up: {error}"
            ) from error

    def is_running(self) -> bool:
        return self.process.is_running()

    def stop(self) -> None:
        self.process.stop()

    def _command(self) -> list[str]:
        # The setting is a list, so a folder with a comma in its name needs quotes.
        folder = str(self.locations.sockets).replace('"', '""')
        settings = {
            **_SETTINGS,
            "max_connections": str(self.connections_max),
            "unix_socket_directories": f'"{folder}"',
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [str(postgres_program("postgres")), "-D", str(self.data), *arguments]

    def _stop_leftover(self) -> None:
        lock = self.data / "postmaster.pid"
        pid = read_pid(lock)
        if pid is not None:
            stop_leftover(pid, marker=f"-D {self.data} ", steps=_LEFTOVER_STOP_STEPS, pause=self.pause)
            if _process_exists(pid):
                # Another program has this process id now. PostgreSQL would take it for a running
                # server and not start.
                lock.unlink(missing_ok=True)
        for stale in self.locations.sockets.glob(f".s.PGSQL.{POSTGRES_PORT}*"):
            stale.unlink()

    def _make_cluster(self) -> None:
        """Create the cluster with initdb, which needs a user that has a name.

        If our account has no name, initdb runs as another user. The folder around the cluster is
        closed to other processes of that user, and the result is given to our account.
        """
        around = self.data.with_name("postgres.unfinished")
        shutil.rmtree(around, ignore_errors=True)
        make_private(around, self.account)
        unfinished = around / "cluster"
        unfinished.mkdir(mode=0o700)
        maker = self.account
        if maker is not None and os.geteuid() == 0 and not has_entry(maker):
            maker = named_account()
        if maker is not None:
            maker.own(unfinished)
        self._initdb(unfinished, maker)
        if self.account is not None and maker != self.account:
            give_tree(unfinished, self.account)
        unfinished.rename(self.data)
        around.rmdir()
        folder = os.open(self.data.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # The new name must be on disk before the cluster is used.
        finally:
            os.close(folder)

    def _write_access_rules(self) -> None:
        """Write the access rules: a password for roles, and the system's user for the superuser."""
        try:
            ourselves = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise ProcessError(
                f"PostgreSQL must know the name of the user that starts it, and user {os.geteuid()} has none in"
                " /etc/passwd: start as another user, or set POSTGRES_URI."
            ) from None
        write_private(self.data / "pg_hba.conf", _ACCESS, self.account)
        write_private(self.data / "pg_ident.conf", f'starter "{ourselves}" {SUPERUSER}\n', self.account)

    def _initdb(self, folder: Path, maker: Account | None) -> None:
        command = [
            str(postgres_program("initdb")),
            f"--pgdata={folder}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=reject",  # Changed by _write_access_rules.
            "--auth-host=reject",
            "--no-instructions",
        ]
        output = folder.with_name("initdb.log")
        with output.open("wb") as log:
            try:
                process = subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=_environment(),
                    # preexec_fn is safe: the process has no other threads when it starts children.
                    preexec_fn=child_setup(account=maker, death_signal=signal.SIGKILL),  # noqa: PLW1509
                )
            except OSError as error:
                raise ProcessError(
                    f"initdb could not be started from {command[0]}: {error.strerror}.{account_hint(maker)}"
                ) from error
            try:
                while process.poll() is None:
                    self.pause(POLL_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            lines = output.read_text(errors="replace").strip().splitlines()
            errors = [line for line in lines if line.startswith("initdb:") or "FATAL:" in line] or lines
            reason = errors[0] if errors else f"status {process.returncode}"
            raise ProcessError(f"initdb of {self.data} failed: {reason}.{account_hint(maker)}")
        output.unlink()

    def _start_process(self) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        attempts = 0
        while time.monotonic() < deadline:
            if not self.process.is_running():
                if attempts == _START_ATTEMPTS_MAX:
                    raise ProcessError(
                        f"PostgreSQL does not start on {self.data}: see its message above."
                        f"{account_hint(self.account)}"
                    )
                if attempts:  # After a kill, sessions of the last run may need a moment to end.
                    self.pause(_START_RETRY_SECONDS)
                self.process.start()
                attempts += 1
            if self._is_ready():
                return
            self.pause(POLL_SECONDS)
        raise ProcessError(f"PostgreSQL on {self.data} did not answer within {_START_SECONDS_MAX:.0f} s.")

    def _is_ready(self) -> bool:
        """Return whether the server is ready, according to the file that `pg_ctl` reads as well.

        Connecting too early would put errors into the log.
        """
        lock = self.data / "postmaster.pid"
        try:
            lines = lock.read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > _STATUS_LINE
            and lines[0] == str(self.process.pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )

    def _ensure_database(self) -> None:
        role = sql.Identifier(POSTGRES_USER)
        database = sql.Identifier(POSTGRES_DATABASE)
        with self._connect("postgres") as connection:
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [POSTGRES_USER]).rowcount:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            verifier = connection.pgconn.encrypt_password(
                self.locations.postgres_password.encode(), POSTGRES_USER.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} NOSUPERUSER NOCREATEROLE {} PASSWORD {}").format(
                    role,
                    sql.SQL("CREATEDB" if self.creates_databases else "NOCREATEDB"),
                    sql.Literal(verifier.decode()),
                )
            )
            if not connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", [POSTGRES_DATABASE]
            ).rowcount:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.locations.sockets),
            port=POSTGRES_PORT,
            user=SUPERUSER,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )


def _environment() -> dict[str, str]:
    # PG* and LC_* variables in the environment are meant for other servers.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
