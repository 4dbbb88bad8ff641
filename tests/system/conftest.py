"""An exchange that all system tests share which leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.system.exchange import RunningExchange


@pytest.fixture(scope="session")
def running_exchange() -> Iterator[RunningExchange]:
    """One exchange for the whole run. Do not stop it or kill its parts."""
    with RunningExchange() as exchange:
        yield exchange
