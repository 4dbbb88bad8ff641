"""The command lines of the children of `serve`."""

import sys
from collections.abc import Callable

from django.conf import settings

APPLICATION = "exchange_site.asgi:application"


def worker_command(partition: int) -> list[str]:
    """A partition's matching worker, unbuffered so that its log comes in time."""
    return [sys.executable, "-u", "manage.py", "run_matching", f"--partition={partition}"]


def api_command() -> list[str]:
    """The ASGI server that EXCHANGE_ASGI_SERVER names, on EXCHANGE_BIND and PORT."""
    return SERVERS[settings.ENVIRONMENT.exchange_asgi_server]()


def _uvicorn() -> list[str]:
    return [sys.executable, "-m", "exchange_site.uvicorn_server", APPLICATION]


def _daphne() -> list[str]:
    environment = settings.ENVIRONMENT
    return [
        *(sys.executable, "-m", "exchange_site.daphne_server", APPLICATION),
        *("--bind", environment.exchange_bind, "--port", str(environment.port)),
        *("--access-log", "/dev/null", "--verbosity", "0"),
        *("--application-close-timeout", str(settings.API_GRACE_SECONDS)),
    ]


SERVERS: dict[str, Callable[[], list[str]]] = {"uvicorn": _uvicorn, "daphne": _daphne}
