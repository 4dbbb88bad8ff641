"""A running exchange on each ASGI server, with a little trading in it, and the operator's browser.

What the pages show and do is the same code on either server: tests of that run on uvicorn alone, by ON_UVICORN.
Logins are tried on both: what a server says of addresses, connections and cookies matters to them.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.admin.browser import Browser
from tests.environment import free_port
from tests.system.exchange import RunningExchange, prepared_log

PASSWORD = re.compile(r"the password (\S+): shown")

ON_UVICORN = pytest.mark.parametrize("exchange", ["uvicorn"], indirect=True)

Place = Callable[..., Any]


@pytest.fixture(scope="session", params=["uvicorn", "daphne"])
def exchange(request: pytest.FixtureRequest) -> Iterator[RunningExchange]:
    with RunningExchange(variables={"EXCHANGE_ASGI_SERVER": request.param}) as running:
        yield running


@pytest.fixture(scope="session")
def password() -> str:
    """The admin's password, as `serve` printed it at the first start on the data folder."""
    told = PASSWORD.search(prepared_log())
    assert told is not None, prepared_log()
    return told[1]


@pytest.fixture(scope="session")
def place(exchange: RunningExchange) -> Iterator[Place]:
    """Place an order over REST: a resting bid, unless told otherwise."""
    with httpx.Client(base_url=exchange.url, timeout=30) as http:

        def send(**changes: Any) -> httpx.Response:
            order = {"client_id": "client-A", "instrument": "BTC-USD", "side": "buy", "type": "limit"}
            return http.post("/orders", json={**order, "price": 60_000, "quantity": 1, **changes})

        yield send


@pytest.fixture(scope="session")
def browser(exchange: RunningExchange, password: str) -> Iterator[Browser]:
    """Logged in."""
    with Browser(exchange.url) as session:
        assert session.log_in("admin", password).path == "/admin/"
        yield session


@pytest.fixture
def free_admin() -> dict[str, Any]:
    """A free address for the admin alone, and the variable that names it."""
    bind = f"127.0.0.1:{free_port()}"
    return {"bind": bind, "variables": {"EXCHANGE_ADMIN_BIND": bind}}
