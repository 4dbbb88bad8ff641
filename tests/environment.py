"""The environment of a test run: a pytest plugin that is loaded before Django's settings.

`-p tests.environment` in `pyproject.toml` loads it. It gives the run a data folder and a port of its
own, and removes variables that would change the exchange's behaviour. It starts a real PostgreSQL
and a real Valkey, unless POSTGRES_URI or REDIS_URL name others. Tests can run during `make run`.
At the end it removes everything but the sources' bytecode, also if the run is interrupted or
terminated.
"""

import compileall
import contextlib
import gc
import itertools
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from exchange_site.environment import Environment
from hosting.embedded.locations import Locations
from hosting.embedded.processes import ProcessError
from hosting.embedded.servers import EmbeddedServers

PROCESSES = 4  # of one run, each with servers of its own
ASGI_SERVER = re.compile(r"[\[-](uvicorn|daphne)[-\]]")  # in the ids of tests that run on both servers
LONGEST = ("tests/contract/", "tests/simulation/", "tests/system/", "tests/screen/", "tests/admin/")
LARGE = ("tests/contract",)  # folders whose tests of one ASGI server are run by two processes
ONE_EXCHANGE = ("tests/screen",)  # folders whose tests share an exchange, but not on several ASGI servers
KEPT = ("POSTGRES_URI", "REDIS_URL", "DJANGO_SECRET_KEY")
SECRET_KEY = "a key of the tests, which protects nothing but tests"
PORTS = range(12_000, 32_000)  # below the ports of outgoing connections, from 32,768 on Linux
ROOT = Path(__file__).resolve().parents[1]
# Our packages that child processes import.
SOURCES = (
    "base",
    "chaos",
    "exchange_site",
    "hosting",
    "instruments",
    "loadtools",
    "marketdata",
    "matching",
    "operators",
    "orders",
    "screen",
    "streaming",
    "tests",
    "web",
)


def _ports() -> Iterator[int]:
    """Yield, again and again, ports that only this process of a run uses, in random order.

    Two exchanges could choose the same port otherwise, before either of them listens.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = 2 * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))  # with those that replace others
    ports = list(PORTS[number % processes :: processes])
    random.shuffle(ports)
    return itertools.cycle(ports)


_own_ports = _ports()


def free_port() -> int:
    """Return a free TCP port that the system does not use for outgoing connections."""
    while True:
        port = next(_own_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def exchange_variables(data_dir: Path) -> dict[str, str]:
    """Return os.environ without the exchange's variables, but with a data folder and a new port."""
    ours = {name.upper() for name in Environment.__struct_fields__} - set(KEPT)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    kept.pop("PROMETHEUS_MULTIPROC_DIR", None)
    kept.setdefault("DJANGO_SECRET_KEY", SECRET_KEY)
    return {**kept, "EXCHANGE_DATA_DIR": str(data_dir), "PORT": str(free_port())}


# Without bytecode, each process of a run would rewrite the assertions of all tests and plugins.
sys.dont_write_bytecode = False

DATA_DIR = Path(tempfile.mkdtemp(prefix="exchange-tests-"))
# The folder that all processes of a run share. It belongs to the process that distributes tests,
# whose variables the others inherit.
SHARED_DIR = Path(os.environ["EXCHANGE_DATA_DIR"]) if "PYTEST_XDIST_WORKER" in os.environ else DATA_DIR
SERVERS = EmbeddedServers(
    Locations(DATA_DIR),
    postgres=not os.environ.get("POSTGRES_URI"),
    valkey=not os.environ.get("REDIS_URL"),
    creates_databases=True,  # because pytest-django does
)
_variables = exchange_variables(DATA_DIR)
os.environ.clear()
os.environ.update(_variables)


def only_one_authority() -> Path:
    """Write a file with one certificate authority only, and return its path.

    Each httpx client, and so each `httpx.get`, reads all authorities that TLS trusts. That takes
    longer than most requests, and no test uses TLS.
    """
    file, end = DATA_DIR / "authority.pem", "-----END CERTIFICATE-----\n"
    file.write_text("".join(Path(certifi.where()).read_text().partition(end)[:2]))
    return file


os.environ["SSL_CERT_FILE"] = str(only_one_authority())


@pytest.hookimpl(tryfirst=True)  # xdist has an implementation too
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of test processes.

    Tests mostly wait, so several processes can share few cores. There is one if the environment
    names servers, which all processes would share.
    """
    return 0 if os.environ.get("POSTGRES_URI") or os.environ.get("REDIS_URL") else PROCESSES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the longest groups first, so that all processes end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


class SharedExchangeScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Runs all tests that share an exchange in one process: a part of a folder on one ASGI server.

    All other tests of a file run in one process, too.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        folder = file.rpartition("/")[0]
        if folder in ONE_EXCHANGE:
            return folder
        server = ASGI_SERVER.search(nodeid)
        if server is None:
            return file
        part = len(file) % 2 if folder in LARGE else 0  # Lengths of names halve the files well enough.
        return f"{folder} on {server[1]}, part {part}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedExchangeScheduling:
    return SharedExchangeScheduling(config, log)


def compile_sources() -> None:
    """Write the bytecode of our sources, once for all processes that the tests start.

    If PYTHONDONTWRITEBYTECODE is set, each of these hundreds of processes would compile its imports.
    Files and folders that can't be written are left out.
    """
    for name in SOURCES:
        compileall.compile_dir(ROOT / name, quiet=2)


def allow_slow_examples() -> None:
    """Let each of Hypothesis's examples take any time.

    By default, it fails a test if an example took more than 200 ms, or if making examples took more
    than a second. On a slow machine, that can happen to any test.
    """
    from hypothesis import HealthCheck, settings

    slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("slow machine", slow)
    settings.load_profile("slow machine")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        compile_sources()
    if config.option.collectonly or config.option.help or _only_distributes(config):
        return
    allow_slow_examples()
    # SIGTERM counts as an interruption, so that fixtures are torn down and the folder is removed. A
    # shell starts background programs with SIGINT ignored, and so would be the programs under test.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        SERVERS.start()
    except ProcessError as error:
        pytest.exit(f"the tests' servers do not start: {error}", returncode=1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what the collection makes from the garbage collector: it is never freed."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _only_distributes(config: pytest.Config) -> bool:
    """Return whether this process only distributes tests to others."""
    return bool(config.option.numprocesses) and not hasattr(config, "workerinput")


def pytest_unconfigure() -> None:
    SERVERS.stop()
    shutil.rmtree(SERVERS.locations.sockets, ignore_errors=True)
    shutil.rmtree(DATA_DIR, ignore_errors=True)
