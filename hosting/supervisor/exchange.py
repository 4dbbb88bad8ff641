"""The whole exchange as one process with its children, from the first check to the last stop."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from django.conf import settings

from hosting.authority import leave_root, lowest_port, port_capability
from hosting.embedded.privileges import Account
from hosting.embedded.processes import OwnedProcess, ProcessError, StopStep
from hosting.embedded.servers import EmbeddedServers
from hosting.supervisor import startup
from hosting.supervisor.commands import admin_command, admin_variables, api_command, worker_command
from hosting.supervisor.lock import MARKER, FolderLock, stop_leftovers
from hosting.supervisor.signals import Signals, StopRequested
from hosting.supervisor.supervision import Supervisor

logger = logging.getLogger(__name__)


class Exchange:
    """Starts all processes and supervises them until a signal requests a stop."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write
        self.signals = Signals()
        self.supervisor = Supervisor()
        self.lock = FolderLock(settings.LOCATIONS.data_dir)
        self.worker_cpu = startup.worker_cpu()
        self.account: Account | None = None
        # The processes of each list stop together.
        self.workers: list[OwnedProcess] = []
        self.listeners: list[OwnedProcess] = []  # The API is the first one.

    def serve(self) -> None:
        """Serve until SIGINT or SIGTERM. Raises `ProcessError` if the exchange can't start."""
        self.lock.acquire()
        self.signals.install()
        try:
            stop_leftovers(settings.LOCATIONS.data_dir, self.signals.pause)
            startup.ensure_port_is_free()
            startup.ensure_admin_port_is_free()
            startup.raise_open_files_limit()
            startup.clear_metrics()
            if self.worker_cpu is not None:
                logger.info(
                    "CPU %d is used by the worker, and by its database session and Valkey if they are embedded",
                    self.worker_cpu,
                )
            self._open()
            while True:
                self.signals.pause(self.supervisor.restart_dead())
        except StopRequested:
            logger.info("stopping")
        finally:
            self.supervisor.stop()

    def _open(self) -> None:
        environment = settings.ENVIRONMENT
        servers = EmbeddedServers(
            settings.LOCATIONS,
            postgres=environment.postgres_uri is None,
            valkey=environment.redis_url is None,
            valkey_cpu=self.worker_cpu,
            valkey_megabytes=environment.exchange_valkey_megabytes,
            api_connections=environment.exchange_api_processes
            * settings.DATABASE_CONNECTIONS_PER_API_PROCESS,
            pause=self.signals.pause,
        )
        servers.prepare(Path(settings.ENVIRONMENT_METRICS_DIR))
        for server in servers.servers:
            self.supervisor.start(server)
        self.account = leave_root(servers.account, port=lowest_port())
        with self.signals.interruptible():
            startup.await_servers(self.signals.pause)
            startup.prepare_database()
            partitions = startup.partitions()
        for partition in partitions:
            self.workers.append(self._make_worker(partition))
            self.supervisor.start(self.workers[-1])
        self._start_listener("API", api_command(), port=environment.port)
        if environment.admin_bind is not None:
            _, port = environment.admin_bind
            self._start_listener("admin", admin_command(), port=port, variables=admin_variables())
        self._await_health()
        if environment.postgres_uri is None:
            self._create_first_admin()
        self._announce()

    def _await_health(self) -> None:
        deadline = time.monotonic() + settings.HEALTHY_WITHIN_SECONDS
        while problem := startup.health_problem() or startup.admin_problem():
            if time.monotonic() > deadline:
                message = f"not healthy within {settings.HEALTHY_WITHIN_SECONDS} s: {problem.text}"
                if not problem.is_degraded:
                    raise ProcessError(message)
                logger.warning("%s. The other partitions are open.", message)
                return
            if not self.listeners[0].is_running():
                # Another process may have taken the port since the first check.
                startup.ensure_port_is_free()
            self.supervisor.restart_dead()
            self.signals.pause(settings.HEALTH_POLL_SECONDS)

    def _create_first_admin(self) -> None:
        """Create the admin. Its password comes last, because among the log's lines it is missed."""
        with self.signals.interruptible():
            password = startup.create_first_admin()
        if password is not None:
            self.write(
                f"The admin's name is {startup.ADMIN_NAME}, the password {password}: shown this once only."
            )

    def _announce(self) -> None:
        environment = settings.ENVIRONMENT
        address = _address_text(environment.exchange_bind, environment.port)
        admin_address = _address_text(*environment.admin_bind) if environment.admin_bind else address
        self.write(f"The exchange is open. Data: {settings.LOCATIONS.data_dir}")
        for name, url in {
            "screen": f"http://{address}/",
            "API": f"http://{address}/orderbook",
            "docs": f"http://{address}/docs",
            "stream": f"ws://{address}/stream",
            "metrics": f"http://{address}/metrics",
            "admin": f"http://{admin_address}/admin/",
        }.items():
            self.write(f"  {name:8} {url}")
        self.write("Ctrl-C stops it.")

    def _make_worker(self, partition: int) -> OwnedProcess:
        """Return a partition's worker. Only the worker of partition 0 stays on `worker_cpu`."""
        return self._make_child(
            f"matching worker{f' of partition {partition}' if partition else ''}",
            worker_command(partition),
            StopStep(signal.SIGTERM, settings.WORKER_STOP_SECONDS),
            cpu=None if partition else self.worker_cpu,
            together=self.workers,
        )

    def _start_listener(
        self, name: str, command: list[str], *, port: int, variables: Mapping[str, str] | None = None
    ) -> None:
        listener = self._make_child(
            name,
            command,
            StopStep(signal.SIGTERM, settings.API_STOP_SECONDS),
            death_signal=signal.SIGTERM,
            and_keep=port_capability(port),
            together=self.listeners,
            variables=variables,
        )
        self.listeners.append(listener)
        self.supervisor.start(listener)

    def _make_child(
        self,
        name: str,
        command: list[str],
        *steps: StopStep,
        death_signal: signal.Signals = signal.SIGKILL,
        cpu: int | None = None,
        and_keep: int = 0,
        together: Sequence[OwnedProcess] = (),
        variables: Mapping[str, str] | None = None,
    ) -> OwnedProcess:
        data_dir = str(settings.LOCATIONS.data_dir)
        return OwnedProcess(
            name,
            command,
            stop_steps=steps,
            death_signal=death_signal,
            account=self.account,
            and_keep=and_keep,
            cpu=cpu,
            together=together,
            folder=settings.BASE_DIR,
            environment={**os.environ, "EXCHANGE_DATA_DIR": data_dir, MARKER: data_dir, **(variables or {})},
        )


def _address_text(bind: str, port: int) -> str:
    """Return an address for a browser on this machine."""
    host = "localhost" if bind in startup.ANY_ADDRESS or bind == "127.0.0.1" else bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
