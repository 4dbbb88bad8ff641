"""The command lines of the children of `serve`."""

import sys
from collections.abc import Callable

from django.conf import settings


def worker_command() -> list[str]:
    """The matching worker, unbuffered so that its log comes in time."""
    return [sys.executable, "-u", "manage.py", "run_matching"]


def api_command() -> list[str]:
    """The ASGI server that EXCHANGE_ASGI_SERVER names, on EXCHANGE_BIND and PORT."""
    return SERVERS[settings.ENVIRONMENT.exchange_asgi_server]()


def _granian() -> list[str]:
    environment = settings.ENVIRONMENT
    return [
        *(sys.executable, "-m", "granian", "exchange_site.asgi:application"),
        *("--interface", "asginl"),  # ASGI without lifespan, which Django does not have
        *("--host", environment.exchange_bind, "--port", str(environment.port)),
        *("--http", "1", "--loop", "uvloop"),
        *("--workers", str(environment.exchange_api_processes)),
        *("--backlog", str(settings.API_BACKLOG)),
        *("--backpressure", str(settings.API_CONCURRENT_MAX)),
        *("--respawn-failed-workers", "--respawn-interval", str(settings.RESTART_BACKOFF_SECONDS_MIN)),
        *("--workers-kill-timeout", str(settings.API_GRACE_SECONDS)),
        *("--no-access-log", "--log-level", "warning"),
    ]


def _daphne() -> list[str]:
    environment = settings.ENVIRONMENT
    return [
        *(sys.executable, "-m", "daphne", "exchange_site.asgi:application"),
        *("--bind", environment.exchange_bind, "--port", str(environment.port)),
        *("--access-log", "/dev/null", "--verbosity", "0"),
        *("--application-close-timeout", str(settings.API_GRACE_SECONDS)),
    ]


SERVERS: dict[str, Callable[[], list[str]]] = {"granian": _granian, "daphne": _daphne}
