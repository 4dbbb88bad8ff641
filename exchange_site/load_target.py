"""What a load test is aimed at: the exchange that these settings describe, or one started for the test."""

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
    """An exchange, its database, and its processor time so far, where that can be known."""

    target: Target
    postgres_uri: str
    processor_seconds: Callable[[], float | None]


@contextmanager
def load_target(url: str | None, write: Callable[[str], object]) -> Iterator[LoadTarget]:
    """The exchange at `url` or, without one, on PORT; where there is none, one for as long as the block.

    Raises `TargetError` for another machine's address, and `StartError` where the exchange is not healthy.
    """
    target = loopback_target(url or f"http://127.0.0.1:{settings.ENVIRONMENT.port}")
    problem = health_problem(target)
    if problem is None:
        yield LoadTarget(target, settings.POSTGRES_URI, lambda: None)
    elif problem.is_exchange:
        raise StartError(
            f"{problem}. Wait until it is healthy, or name a PORT where none listens to have one started"
        )
    elif url is not None:
        raise StartError(f"{problem}. Start the exchange with: PORT={target.port} make run")
    else:
        write(f"{problem}: starting an exchange for this test")
        prepare_child = child_setup(account=None, death_signal=signal.SIGTERM)
        with own_exchange(settings.BASE_DIR / "manage.py", prepare_child) as own:
            yield LoadTarget(own.target, Locations(own.data_dir).postgres_uri, own.processor_seconds)
