"""The target of a load test: the exchange that these settings describe, or one started for it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from hosting.embedded.locations import Locations
from hosting.embedded.privileges import child_setup
from loadtools.exchange import StartError, health_problem, own_exchange
from loadtools.wire import Target, loopback_target


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """An exchange, its database and its processor time so far, which is None if it is not known."""

    target: Target
    postgres_uri: str
    processor_seconds: Callable[[], float | None]


@contextmanager
def load_target(url: str | None, write: Callable[[str], object]) -> Iterator[LoadTarget]:
    """Find the exchange at `url`. Without `url`, find it on PORT, or start one for the block.

    Raises `TargetError` if the address is another machine's, and `StartError` if the exchange is
    not healthy.
    """
    target = loopback_target(url or f"http://127.0.0.1:{settings.ENVIRONMENT.port}")
    problem = health_problem(target)
    if problem is None:
        yield LoadTarget(target, settings.POSTGRES_URI, lambda: None)
    elif problem.is_exchange:
        raise StartError(
            f"{problem}. Wait until it is healthy, or set PORT to a free port to have one started"
        )
    elif url is not None:
        raise StartError(f"{problem}. Start the exchange with: PORT={target.port} make run")
    else:
        write(f"{problem}: starting an exchange for this test")
        prepare_child = child_setup(account=None, death_signal=signal.SIGTERM)
        with own_exchange(settings.BASE_DIR / "manage.py", prepare_child) as own:
            yield LoadTarget(own.target, Locations(own.data_dir).postgres_uri, own.processor_seconds)
