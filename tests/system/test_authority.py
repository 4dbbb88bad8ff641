"""The accounts and rights of the processes, and the access to the embedded servers."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis

from exchange_site.worker_health import worker_state
from hosting.embedded.accounts import NUMBERS
from hosting.embedded.locations import Locations
from hosting.embedded.postgres import SUPERUSER
from hosting.embedded.privileges import (
    CAP_DAC_READ_SEARCH,
    CAP_NET_BIND_SERVICE,
    held_capabilities,
)
from hosting.embedded.servers import EmbeddedServers
from tests.environment import exchange_variables
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import ROOT, RunningExchange, copy_prepared_folder, of_each, wait_until
from tests.system.test_serve import place_order

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
PARTS = ("run_matching", "uvicorn_server", "valkey-server", "bin/postgres")


def status(process: psutil.Process, field: str) -> str:
    """Return the value of one line of /proc/PID/status."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


def capabilities(process: psutil.Process) -> int:
    """Return the capabilities that a process has or could get, as a bit mask."""
    return int(status(process, "CapPrm"), 16) | int(status(process, "CapAmb"), 16)


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange() as running:
        yield running


@needs_root
def test_no_process_is_root_once_the_exchange_is_open(exchange: RunningExchange) -> None:
    users = set(of_each(exchange.processes(), lambda process: status(process, "Uid")))
    ((user, *others),) = (tuple(map(int, numbers.split())) for numbers in users)
    assert set(others) == {user}
    assert user in NUMBERS
    with pytest.raises(KeyError):
        pwd.getpwuid(user)  # the number belongs to no account of the system
    assert set(of_each(exchange.processes(), lambda process: status(process, "Groups"))) == {""}
    assert set(of_each(exchange.processes(), lambda process: status(process, "NoNewPrivs"))) == {"1"}
    assert set(of_each(exchange.processes(), capabilities)) <= {0, 1 << CAP_DAC_READ_SEARCH}


@needs_root
def test_servers_that_can_reach_their_programs_have_no_capability(exchange: RunningExchange) -> None:
    if Path(sys.prefix).resolve().is_relative_to("/root"):
        pytest.skip("the servers' programs are below /root")
    for part in ("valkey-server", "bin/postgres"):
        processes = [exchange.part(part), *exchange.part(part).children()]
        assert set(of_each(processes, capabilities)) == {0}


@needs_root
def test_only_the_account_can_read_the_data_folder(exchange: RunningExchange) -> None:
    user = exchange.part("bin/postgres").uids().real
    found = exchange.data_dir.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (user, 0o700)
    for path in exchange.data_dir.iterdir():
        assert path.stat().st_uid == user, path
    for name in ("postgres_password", "valkey_password", "secret_key", "valkey/valkey.conf"):
        assert (exchange.data_dir / name).stat().st_mode & 0o077 == 0
    for name in ("sockets", "postgres", "valkey"):
        assert (exchange.data_dir / name).stat().st_mode & 0o077 == 0


def test_the_servers_refuse_clients_without_the_password(exchange: RunningExchange) -> None:
    locations = Locations(exchange.data_dir)
    for user in ("exchange", "anybody"):
        for password in ("", "guess"):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(host=str(locations.sockets), user=user, password=password, dbname="exchange")
    for wrong in (None, "guess"):
        client = redis.Redis(unix_socket_path=str(locations.valkey_socket), password=wrong)
        with pytest.raises(redis.AuthenticationError), client:
            client.ping()


def test_no_password_is_in_a_command_line(exchange: RunningExchange) -> None:
    locations = Locations(exchange.data_dir)
    shown = " ".join(of_each(exchange.processes(), lambda process: " ".join(process.cmdline())))
    assert locations.postgres_password not in shown
    assert locations.valkey_password not in shown


@needs_root
@pytest.mark.parametrize("user", ["ours", "another"])
def test_only_root_can_connect_as_the_superuser(exchange: RunningExchange, user: str) -> None:
    """A superuser can write files, so no other account may connect as it, not even the exchange's."""
    number = exchange.part("bin/postgres").uids().real if user == "ours" else 65_534
    script = f"""
import os, psycopg
def connect():
    psycopg.connect(host={str(Locations(exchange.data_dir).sockets)!r}, user={SUPERUSER!r}).close()
connect()
print("root may")
os.setgroups([]); os.setgid({number}); os.setuid({number})
connect()
print("{user} may")
"""
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert finished.stdout == "root may\n"
    assert "OperationalError" in finished.stderr


@pytest.mark.parametrize(
    "statement",
    ["COPY (SELECT 1) TO '/tmp/exchange-copied'", "COPY (SELECT 1) TO PROGRAM 'id'", "CREATE ROLE other"],
)
def test_the_exchanges_role_is_not_a_superuser(exchange: RunningExchange, statement: str) -> None:
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri) as connection:
        ((is_superuser, role),) = connection.execute(
            "SELECT usesuper, current_user FROM pg_user WHERE usename = current_user"
        )
        assert (is_superuser, role) == (False, "exchange")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@needs_root
def test_an_exchange_in_a_closed_folder_works_and_logs_its_capability(tmp_path: Path) -> None:
    """Like /root, pytest's folder is closed to other accounts. The processes read it by a capability.

    The capability must not let PostgreSQL write to a folder that its account can't write to.
    """
    with RunningExchange(copy_prepared_folder(tmp_path / "data")) as exchange:
        place_order(exchange)
        for part in PARTS:
            assert capabilities(exchange.part(part)) == 1 << CAP_DAC_READ_SEARCH
        (line,) = [line for line in exchange.log().splitlines() if "root is given up" in line]
        assert "CAP_DAC_READ_SEARCH" in line
        secret = tmp_path / "root-only"
        secret.mkdir(mode=0o700)
        with (
            psycopg.connect(
                Locations(exchange.data_dir).postgres_uri, user=SUPERUSER, autocommit=True
            ) as root,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="Permission denied"),
        ):
            root.execute(f"COPY (SELECT 1) TO '{secret}/copied'")
        assert list(secret.iterdir()) == []


@contextlib.contextmanager
def running_command(environment: dict[str, str], *command: str) -> Iterator[psutil.Process]:
    """Run a command of `manage.py` until the block ends. Fail if it then ends with another status."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            status_of_end = process.wait(PATIENCE_SECONDS)
            log.seek(0)
            assert status_of_end in (0, -signal.SIGTERM), log.read().decode()


@pytest.fixture(scope="module")
def role_environments() -> Iterator[dict[str, dict[str, str]]]:
    """Each role's environment variables, for servers with separate roles as in production."""
    data_dir = Path(tempfile.mkdtemp(prefix="exchange-roles-"))
    locations = Locations(data_dir)
    servers = EmbeddedServers(locations, creates_databases=True)
    try:
        with servers:
            base = {**exchange_variables(data_dir), "EXCHANGE_RATE_LIMIT": "off"}
            base["REDIS_URL"] = locations.redis_url
            base["DJANGO_SECRET_KEY"] = "a key of this test, which nobody else uses"
            own = locations.postgres_uri
            uris = {"superuser": own.replace(f"exchange:{locations.postgres_password}", SUPERUSER)}
            options = []
            for role in ("owner", "api", "worker"):
                file = data_dir / f"password_{role}"
                file.write_text(f"secret-{role}")
                options.append(f"--{role}-password-file={file}")
                uris[role] = own.replace(
                    f"exchange:{locations.postgres_password}", f"exchange_{role}:secret-{role}"
                )
            environments = {role: {**base, "POSTGRES_URI": uri} for role, uri in uris.items()}
            for role, command in (
                ("superuser", ["create_roles", *options]),
                ("owner", ["migrate", "--no-input", "--verbosity=0"]),
                ("owner", ["grant_rights"]),
                ("owner", ["load_instruments"]),
            ):
                subprocess.run(
                    [sys.executable, "manage.py", *command], cwd=ROOT, env=environments[role], check=True
                )
            yield environments
    finally:
        shutil.rmtree(data_dir)


@pytest.mark.long
def test_an_exchange_with_a_role_for_each_process_trades(
    role_environments: dict[str, dict[str, str]],
) -> None:
    """Orders, cancels and reads work.

    The worker's health check says whether a worker holds the partition: before the worker starts, while
    it runs, after a standby took over, and when both have stopped.
    """
    url = f"http://127.0.0.1:{role_environments['api']['PORT']}"
    uri = role_environments["worker"]["POSTGRES_URI"]
    assert worker_state(uri, 0) == (False, "no matching worker of this machine is connected to the database")
    with (
        running_command(role_environments["api"], "run_api") as api,
        running_command(role_environments["worker"], "run_matching") as worker,
    ):

        def is_healthy() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{url}/healthz", timeout=PATIENCE_SECONDS).status_code == 200
            return False

        wait_until(is_healthy, "the exchange is healthy")
        assert worker_state(uri, 0) == (True, "holds partition 0")
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as http:
            for side in ("buy", "sell", "buy"):
                order = {"client_id": side, "instrument": "BTC-USD", "side": side, "type": "limit"}
                placed = http.post("/orders", json={**order, "price": 10, "quantity": 1})
                assert placed.status_code == 201, placed.text
            cancelled = http.post(f"/orders/{placed.json()['order_id']}/cancel")
            assert cancelled.status_code == 200, cancelled.text
            assert len(http.get("/trades", params={"instrument": "BTC-USD"}).json()["trades"]) == 1
        if os.geteuid() == 0:
            for process in (api, worker):
                assert process.uids().real in NUMBERS
                assert capabilities(process) in (0, 1 << CAP_DAC_READ_SEARCH)
        with running_command(role_environments["worker"], "run_matching"):
            worker.suspend()
            wait_until(
                lambda: worker_state(uri, 0) == (True, "holds partition 0"), "the standby has taken over"
            )
            worker.resume()
    assert worker_state(uri, 0)[0] is False


@pytest.mark.long
@needs_root
@pytest.mark.parametrize(
    ("server", "command", "variables", "path"),
    [
        ("uvicorn", "run_api", {"PORT": "83"}, "/instruments"),
        ("daphne", "run_admin", {"EXCHANGE_ADMIN_BIND": "127.0.0.1:83"}, "/admin/login/"),
    ],
    ids=["run_api", "run_admin"],
)
def test_a_process_listens_on_a_low_port_and_gives_up_the_right_to_it(
    role_environments: dict[str, dict[str, str]],
    server: str,
    command: str,
    variables: dict[str, str],
    path: str,
) -> None:
    if not held_capabilities() >> CAP_NET_BIND_SERVICE & 1:
        pytest.skip("root may not listen on low ports here")
    environment = {**role_environments["api"], **variables, "EXCHANGE_ASGI_SERVER": server}
    with running_command(environment, command) as api:

        def listens() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return bool(httpx.get(f"http://127.0.0.1:83{path}", timeout=PATIENCE_SECONDS))
            return False

        wait_until(listens, "it listens on port 83")
        assert not capabilities(api) >> CAP_NET_BIND_SERVICE & 1
        assert api.uids().real in NUMBERS
