"""Fixtures: one running exchange for all tests of the contract, on uvicorn and again on daphne.

Some behaviour does not depend on the ASGI server, such as the checks of a document's fields. Its tests
are marked ON_UVICORN and run on uvicorn alone. So do the tests of uvicorn's own bounds. What a server
reads and closes in HTTP is marked ON_BOTH, and tested on both in each run. The other tests run on
daphne in `make test-long` alone.
"""

import itertools
import re
from collections.abc import Iterator

import pytest

from tests.contract.client import Client
from tests.contract.market import Market
from tests.contract.stream import Stream
from tests.system.exchange import RunningExchange

ON_UVICORN = pytest.mark.parametrize("asgi_server", ["uvicorn"], indirect=True)
ON_BOTH = pytest.mark.parametrize("asgi_server", ["uvicorn", "daphne"], indirect=True)
ERROR_LINE = re.compile(r"^.*(?: ERROR | CRITICAL |\[ERROR\]|Traceback|Warning: ).*$", re.MULTILINE)

# Orders are answered with 503 or 504 if a part is late. That is the subject of tests/system.
PATIENT = {"DJANGO_SETTINGS_MODULE": "tests.contract.patient_settings"}

_client_numbers = itertools.count(1)


@pytest.fixture(scope="package", params=["uvicorn", pytest.param("daphne", marks=pytest.mark.long)])
def asgi_server(request: pytest.FixtureRequest) -> str:
    """The ASGI server that the exchange runs on."""
    return str(request.param)


@pytest.fixture(scope="package")
def shared_exchange(asgi_server: str) -> Iterator[RunningExchange]:
    """An exchange without a rate limit. Tests use it by way of `exchange`, which checks its log."""
    with RunningExchange(variables={**PATIENT, "EXCHANGE_ASGI_SERVER": asgi_server}) as running:
        yield running


@pytest.fixture(scope="package")
def strict_exchange(asgi_server: str) -> Iterator[RunningExchange]:
    """An exchange with a rate limit, which allows the pages of two other origins.

    The limit's window is an hour. A minute would slide on while a test uses up an allowance.
    """
    variables = {
        **PATIENT,
        "EXCHANGE_ASGI_SERVER": asgi_server,
        "EXCHANGE_RATE_LIMIT": "100/hour",
        "EXCHANGE_CORS_ORIGINS": "https://app.example.com:443, http://localhost:3000",
    }
    with RunningExchange(variables=variables) as running:
        yield running


@pytest.fixture(scope="package")
def silent_stream(shared_exchange: RunningExchange) -> Iterator[Stream]:
    """A stream that is opened before the first test, so that the heartbeat's test needs little time.

    The client's queue has no bound. With the usual bound, the client would stop reading after sixteen
    heartbeats, miss the pong to its own ping, and close the connection.
    """
    with Stream(shared_exchange.ws_url, max_queue=None) as connected:
        yield connected


@pytest.fixture
def exchange(shared_exchange: RunningExchange, silent_stream: Stream) -> Iterator[RunningExchange]:
    """The shared exchange. A test fails if the exchange logs an error or a Python warning meanwhile."""
    before = len(shared_exchange.log())
    yield shared_exchange
    assert not ERROR_LINE.findall(shared_exchange.log()[before:])


@pytest.fixture(scope="package")
def market(shared_exchange: RunningExchange) -> Iterator[Market]:
    """The operator's access to the shared exchange."""
    operator = Market(shared_exchange)
    yield operator
    operator.close()


@pytest.fixture
def instrument(market: Market) -> str:
    """An instrument without orders or trades."""
    return market.fresh_instrument()


@pytest.fixture
def client(exchange: RunningExchange) -> Iterator[Client]:
    with Client(exchange.url) as connected:
        yield connected


@pytest.fixture
def client_id() -> str:
    """The id of a client without orders."""
    return f"lone-client-{next(_client_numbers)}"


@pytest.fixture
def stream(exchange: RunningExchange) -> Iterator[Stream]:
    with Stream(exchange.ws_url) as connected:
        yield connected
