"""The embedded PostgreSQL: made once, started, given its role and database, stopped.

Durable as any: fsync and synchronous commit are on. Reachable through a unix socket in a private folder only, and
with a password (see locations.py). The role of the exchange owns its database and is no superuser: it reads and
writes no file. The superuser only sets the role up. It has no password: the socket tells who comes, and only the
user that has started us may be it. So when root starts us, nothing that runs later can. Made for a small machine:
about 64 MB of buffers, few processes.

A cluster is made beside its final place and renamed, so that a half-made one is never started. The first
start takes about two seconds, later ones a fraction of one; after a crash PostgreSQL first syncs its files and
reads up to MAX_WAL_SIZE of its log.
"""

import contextlib
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

SUPERUSER = "postgres"
START_SECONDS_MAX = 60.0
START_ATTEMPTS_MAX = 3
START_RETRY_SECONDS = 1.0
MAX_WAL_SIZE = "512MB"
STATUS_LINE = 7  # of postmaster.pid

# pg_hba.conf: what it does not name is refused.
ACCESS = f"""local all {SUPERUSER} peer map=starter
local all all scram-sha-256
"""

CONNECTIONS_MAX = 40  # of workers, operators' commands and other programs: API processes have theirs besides

SETTINGS = {
    "listen_addresses": "",
    "port": str(POSTGRES_PORT),
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # After a crash PostgreSQL syncs all its files before it reads its log: in one call, where there is one, rather
    # than in a thousand. Linux reports errors of that call since 5.8.
    **({"recovery_init_sync_method": "syncfs"} if LINUX else {}),
    # a small machine
    "shared_buffers": "64MB",
    "max_wal_size": MAX_WAL_SIZE,
    "min_wal_size": "128MB",
    "jit": "off",
    "autovacuum": "on",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",  # no processes of its own for reading
    # nobody replicates from it
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m postgres %p ",
    # Errors reach whoever sent the statement, who logs them; a key that is there already is no news at all.
    "log_min_messages": "fatal",
}

# Fast shutdown ends the sessions and writes a checkpoint; immediate leaves that to the next start. Both keep
# every committed transaction.
STOP_STEPS = (StopStep(signal.SIGINT, 1.5), StopStep(signal.SIGQUIT, 0.5))
LEFTOVER_STOP_STEPS = (StopStep(signal.SIGINT, 10.0), StopStep(signal.SIGQUIT, 5.0))


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
        self.connections_max = CONNECTIONS_MAX + api_connections
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
        """Start the server and return once it answers, with our role and database in place.

        Raises `ProcessError` where it does not start, and what `pause` raises.
        """
        with data_folder_errors():
            self._stop_leftover()
            if not self.data.exists():
                self._make_cluster()
            if not self._is_set_up:
                self._write_access()
        self._start_process()
        if self._is_set_up:  # and we may have given up root, without which we are no superuser
            return
        try:
            self._ensure_database()
            self._is_set_up = True
        except psycopg.Error as error:
            raise ProcessError(
                f"PostgreSQL on {self.data} has started but refuses to work: {error}"
            ) from error

    def is_running(self) -> bool:
        return self.process.is_running()

    def stop(self) -> None:
        self.process.stop()

    def _command(self) -> list[str]:
        # The setting is a list: quotes keep a folder with a comma in its name in one piece.
        folder = str(self.locations.sockets).replace('"', '""')
        settings = {
            **SETTINGS,
            "max_connections": str(self.connections_max),
            "unix_socket_directories": f'"{folder}"',
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [str(postgres_program("postgres")), "-D", str(self.data), *arguments]

    def _stop_leftover(self) -> None:
        lock = self.data / "postmaster.pid"
        pid = read_pid(lock)
        if pid is not None:
            stop_leftover(pid, marker=f"-D {self.data} ", steps=LEFTOVER_STOP_STEPS, pause=self.pause)
            if _exists(pid):
                # The number now belongs to a stranger, and PostgreSQL would take it for itself and refuse to
                # start.
                lock.unlink(missing_ok=True)
        for stale in self.locations.sockets.glob(f".s.PGSQL.{POSTGRES_PORT}*"):
            stale.unlink()

    def _make_cluster(self) -> None:
        """initdb wants a user that has a name. If ours has none it runs as another, for as long as it takes.

        The folder around it is closed to other processes of that user, and its result is given to our account.
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
            os.fsync(folder)  # the new name is on disk before anything is written under it
        finally:
            os.close(folder)

    def _write_access(self) -> None:
        """Say who may connect: whoever has a role's password; as superuser, the user that we are now."""
        try:
            ourselves = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise ProcessError(
                f"PostgreSQL must know the name of the user that starts it, and user {os.geteuid()} has none in"
                " /etc/passwd: start as another user, or set POSTGRES_URI."
            ) from None
        write_private(self.data / "pg_hba.conf", ACCESS, self.account)
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
            "--auth-local=reject",  # until _write_access
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
                    # No thread runs where we start children.
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
            told = [line for line in lines if line.startswith("initdb:") or "FATAL:" in line] or lines
            reason = told[0] if told else f"status {process.returncode}"
            raise ProcessError(f"initdb of {self.data} failed: {reason}.{account_hint(maker)}")
        output.unlink()

    def _start_process(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        attempts = 0
        while time.monotonic() < deadline:
            if not self.process.is_running():
                if attempts == START_ATTEMPTS_MAX:
                    raise ProcessError(
                        f"PostgreSQL does not start on {self.data}: see its message above."
                        f"{account_hint(self.account)}"
                    )
                if attempts:  # sessions of one that was killed may take a moment to notice and go
                    self.pause(START_RETRY_SECONDS)
                self.process.start()
                attempts += 1
            if self._is_ready():
                return
            self.pause(POLL_SECONDS)
        raise ProcessError(f"PostgreSQL on {self.data} did not answer within {START_SECONDS_MAX:.0f} s.")

    def _is_ready(self) -> bool:
        """What `pg_ctl` asks too: connecting before the server is ready would put errors into the log."""
        lock = self.data / "postmaster.pid"
        try:
            lines = lock.read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > STATUS_LINE
            and lines[0] == str(self.process.pid)
            and lines[STATUS_LINE].strip() == "ready"
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
    # The operator's PG* and LC_* variables are meant for other servers.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
