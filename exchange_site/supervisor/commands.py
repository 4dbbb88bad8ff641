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


def _uvicorn() -> list[str]:
    environment = settings.ENVIRONMENT
    return [
        *(sys.executable, "-m", "uvicorn", "exchange_site.asgi:application"),
        *("--host", environment.exchange_bind, "--port", str(environment.port)),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--lifespan", "off"),
        *("--ws-max-size", str(settings.STREAM_FRAME_BYTES_MAX), "--ws-per-message-deflate", "false"),
        *("--workers", str(environment.exchange_api_processes)),
        *("--backlog", str(settings.API_BACKLOG)),
        *("--limit-concurrency", str(settings.API_CONCURRENT_MAX)),
        *("--timeout-graceful-shutdown", str(settings.API_GRACE_SECONDS)),
        *("--no-access-log", "--no-server-header", "--log-level", "warning"),
    ]


def _daphne() -> list[str]:
    environment = settings.ENVIRONMENT
    return [
        *(sys.executable, "-m", "daphne", "exchange_site.asgi:application"),
        *("--bind", environment.exchange_bind, "--port", str(environment.port)),
        *("--access-log", "/dev/null", "--verbosity", "0"),
        *("--application-close-timeout", str(settings.API_GRACE_SECONDS)),
    ]


SERVERS: dict[str, Callable[[], list[str]]] = {"uvicorn": _uvicorn, "daphne": _daphne}
