"""Fixtures: a running exchange on each ASGI server, a way to place orders, and an operator's browser.

The code of the admin's pages is the same on both servers, so most tests are marked ON_UVICORN and
run on uvicorn alone. Tests of logins run on both servers, because logins depend on how a server
passes on addresses, connections and cookies.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.admin.browser import Browser
from tests.environment import free_port
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange, prepared_log

PASSWORD = re.compile(r"the password (\S+): shown")

ON_UVICORN = pytest.mark.parametrize("exchange", ["uvicorn"], indirect=True)

Place = Callable[..., Any]


@pytest.fixture(scope="package", params=["uvicorn", pytest.param("daphne", marks=pytest.mark.long)])
def exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with RunningExchange(variables={"EXCHANGE_ASGI_SERVER": request.param}) as running:
        yield running


@pytest.fixture(scope="package")
def password() -> str:
    """The admin's password. `serve` printed it at the first start on the data folder."""
    printed = PASSWORD.search(prepared_log())
    assert printed is not None, prepared_log()
    return printed[1]


@pytest.fixture(scope="package")
def place(exchange: RunningExchange) -> Iterator[Place]:
    """A function that places an order over REST: a resting bid, unless `changes` say otherwise."""
    with httpx.Client(base_url=exchange.url, timeout=PATIENCE_SECONDS) as http:

        def send(**changes: Any) -> httpx.Response:
            order = {"client_id": "client-A", "instrument": "BTC-USD", "side": "buy", "type": "limit"}
            return http.post("/orders", json={**order, "price": 60_000, "quantity": 1, **changes})

        yield send


@pytest.fixture(scope="package")
def browser(exchange: RunningExchange, password: str) -> Iterator[Browser]:
    """A browser that is logged in as the admin."""
    with Browser(exchange.url) as session:
        assert session.log_in("admin", password).path == "/admin/"
        yield session


@pytest.fixture
def free_admin() -> dict[str, Any]:
    """A free address for the admin's own listener, and the environment variable that sets it."""
    bind = f"127.0.0.1:{free_port()}"
    return {"bind": bind, "variables": {"EXCHANGE_ADMIN_BIND": bind}}
