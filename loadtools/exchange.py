"""The exchange of a load test: a running one, or one that is started for the test.

A started one is `manage.py serve` with the embedded servers, a temporary data folder and a free
port, and without the rate limit.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from loadtools.processes import process_ticks, processor_seconds
from loadtools.wire import Target

_HEALTH_TIMEOUT_SECONDS = 5.0
_START_TIMEOUT_SECONDS = 90.0
_STOP_TIMEOUT_SECONDS = 20.0
_POLL_SECONDS = 0.1
_LOG_TAIL_LINES = 15
# These variables are removed, because they belong to another exchange.
_REPLACED_VARIABLES = ("POSTGRES_URI", "REDIS_URL", "EXCHANGE_METRICS_DIR")


class StartError(RuntimeError):
    """The exchange did not become healthy. The message contains the end of its log."""


class HealthProblem(NamedTuple):
    """The reason why there is no healthy exchange."""

    text: str
    is_exchange: bool  # Whether an exchange listens there.

    def __str__(self) -> str:
        return self.text


def health_problem(target: Target) -> HealthProblem | None:
    """Return why the exchange at the target can't be used. None if it is healthy."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=_HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        health = json.loads(answer.read())
    except ConnectionRefusedError:
        return HealthProblem(f"nothing listens on {target.authority}", is_exchange=False)
    except (OSError, http.client.HTTPException, ValueError) as error:
        text = f"{target.authority} does not answer like an exchange ({type(error).__name__})"
        # It may be an exchange that hangs.
        return HealthProblem(text, is_exchange=isinstance(error, TimeoutError))
    finally:
        connection.close()
    if isinstance(health, dict) and health.get("status") == "healthy":
        return None
    text = f"the exchange on {target.authority} is not healthy: {json.dumps(health)[:300]}"
    return HealthProblem(text, is_exchange=isinstance(health, dict) and "status" in health)


@dataclass(frozen=True, slots=True)
class OwnExchange:
    """An exchange that was started for the test."""

    target: Target
    data_dir: Path
    process_id: int
    log: Path  # Has the lines of all its processes. It is deleted with the exchange.
    environment: Mapping[str, str]  # The variables of all its processes.

    def process_ids(self) -> list[int]:
        """Return the processes of `serve` and of all its descendants. Only on Linux."""
        return list(process_ticks(self.process_id, named=str(self.data_dir)))

    def processor_seconds(self) -> float | None:
        """Return the processor time of all processes in seconds. None if it is not Linux."""
        return processor_seconds(self.process_id, named=str(self.data_dir))


@contextmanager
def own_exchange(
    manage_py: Path,
    prepare_child: Callable[[], None] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[OwnExchange]:
    """Start an exchange, wait until it is healthy, and at the end stop it and delete its data.

    In the block SIGTERM raises KeyboardInterrupt, so it stops the exchange, too.
    `prepare_child` runs in the child before its program. It may make the child end if this process
    is killed. `variables` are added to its environment. Raises `StartError`.
    """
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="load_test-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder) / "data"
        log = Path(folder) / "serve.log"
        target = Target("127.0.0.1", free_port())
        # The variables are only passed on. The settings interpret them.
        environment = {name: value for name, value in os.environ.items() if name not in _REPLACED_VARIABLES}
        environment |= {
            "PORT": str(target.port),
            "EXCHANGE_DATA_DIR": str(data_dir),
            "EXCHANGE_RATE_LIMIT": "off",
            **(variables or {}),
        }
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 -- this interpreter, our own command
                [sys.executable, str(manage_py), "serve"],
                env=environment,
                cwd=manage_py.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=prepare_child,  # noqa: PLW1509 -- this process has no threads yet
                # Ctrl-C reaches only the load test, which stops the exchange.
                start_new_session=True,
            )
        try:
            _await_health(process, target, log)
            yield OwnExchange(target, data_dir, process.pid, log, environment)
        finally:
            _stop_process(process)
            signal.signal(signal.SIGTERM, handler)


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await_health(process: "subprocess.Popen[bytes]", target: Target, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while (problem := health_problem(target)) is not None:
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            reason = f"it ended with status {ended}" if ended is not None else problem.text
            lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
            raise StartError(
                "\n".join([f"could not start an exchange: {reason}. The end of its log:", *lines])
            )
        time.sleep(_POLL_SECONDS)


def _stop_process(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
