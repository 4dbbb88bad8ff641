"""The test run's own environment: a pytest plugin that is loaded before Django's settings are imported.

`-p tests.environment` in `pyproject.toml` loads it. It gives the run a data folder and a port of its own,
takes away the variables that would change the exchange's behaviour, and starts a real PostgreSQL and a real
Valkey (unless POSTGRES_URI or REDIS_URL name others), so that tests can run while `make run` runs. All is
gone afterwards, also when the run is interrupted or terminated; only the sources' bytecode stays.
"""

import compileall
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import certifi
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from exchange_site.environment import Environment
from hosting.embedded.locations import Locations
from hosting.embedded.processes import ProcessError
from hosting.embedded.servers import EmbeddedServers

PROCESSES = 3  # of one run; each has servers of its own
ASGI_SERVER = re.compile(r"[\[-](uvicorn|daphne)[-\]]")  # a parameter of tests on either
LONGEST = ("tests/contract/", "tests/simulation/", "tests/system/", "tests/admin/")
KEPT = ("POSTGRES_URI", "REDIS_URL", "DJANGO_SECRET_KEY")
SECRET_KEY = "a key of the tests, which protects nothing but tests"
PORTS = range(12_000, 32_000)  # below those of outgoing connections, which begin at 32,768 on Linux
ROOT = Path(__file__).resolve().parents[1]
# What child processes import of ours.
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
    "streaming",
    "tests",
    "web",
)


def free_port() -> int:
    """A TCP port that nobody used a moment ago, and that the system gives to no connection meanwhile."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def exchange_variables(data_dir: Path) -> dict[str, str]:
    """Our own variables without those of another exchange, and with a data folder and port of its own."""
    ours = {name.upper() for name in Environment.__struct_fields__} - set(KEPT)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    kept.pop("PROMETHEUS_MULTIPROC_DIR", None)
    kept.setdefault("DJANGO_SECRET_KEY", SECRET_KEY)
    return {**kept, "EXCHANGE_DATA_DIR": str(data_dir), "PORT": str(free_port())}


# Otherwise each process of a run rewrites the assertions of all tests and plugins again.
sys.dont_write_bytecode = False

DATA_DIR = Path(tempfile.mkdtemp(prefix="exchange-tests-"))
# What all processes of a run share: the folder of the one that distributes the tests, whose variables they inherit.
SHARED_DIR = Path(os.environ["EXCHANGE_DATA_DIR"]) if "PYTEST_XDIST_WORKER" in os.environ else DATA_DIR
SERVERS = EmbeddedServers(
    Locations(DATA_DIR),
    postgres=not os.environ.get("POSTGRES_URI"),
    valkey=not os.environ.get("REDIS_URL"),
    creates_databases=True,  # pytest-django's
)
_variables = exchange_variables(DATA_DIR)
os.environ.clear()
os.environ.update(_variables)


def only_one_authority() -> Path:
    """A file with the first of the authorities that TLS trusts.

    Each httpx client, so each `httpx.get`, reads all of them though it may never speak TLS, which takes longer
    than most requests do. No test speaks TLS.
    """
    file, end = DATA_DIR / "authority.pem", "-----END CERTIFICATE-----\n"
    file.write_text("".join(Path(certifi.where()).read_text().partition(end)[:2]))
    return file


os.environ["SSL_CERT_FILE"] = str(only_one_authority())


@pytest.hookimpl(tryfirst=True)  # xdist itself has an answer too
def pytest_xdist_auto_num_workers() -> int:
    """Some processes, which wait more than they work; one where servers are given that all would share."""
    return 0 if os.environ.get("POSTGRES_URI") or os.environ.get("REDIS_URL") else PROCESSES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest groups come first, so that the processes end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


class SharedExchangeScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """One process runs all tests of a folder on one ASGI server, which share an exchange.

    Other tests stay together with those of their file.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        server = ASGI_SERVER.search(nodeid)
        return f"{file.rpartition('/')[0]} on {server[1]}" if server else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedExchangeScheduling:
    return SharedExchangeScheduling(config, log)


def compile_sources() -> None:
    """Write the bytecode of our sources, once for all processes that the tests start.

    Where PYTHONDONTWRITEBYTECODE is set, each of these hundreds would compile all that it imports.
    A file that can't be written, or a folder, is passed over.
    """
    for name in SOURCES:
        compileall.compile_dir(ROOT / name, quiet=2)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        compile_sources()
    if config.option.collectonly or config.option.help or _only_distributes(config):
        return
    # A termination is an interruption: fixtures are torn down, and the data folder goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        SERVERS.start()
    except ProcessError as error:
        pytest.exit(f"the tests' servers do not start: {error}", returncode=1)


def _only_distributes(config: pytest.Config) -> bool:
    """Whether this process runs no tests itself."""
    return bool(config.option.numprocesses) and not hasattr(config, "workerinput")


def pytest_unconfigure() -> None:
    SERVERS.stop()
    shutil.rmtree(SERVERS.locations.sockets, ignore_errors=True)
    shutil.rmtree(DATA_DIR, ignore_errors=True)
