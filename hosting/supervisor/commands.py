"""The command lines of the children of `serve`."""

import sys
from collections.abc import Callable

from django.conf import settings

_APPLICATION = "exchange_site.asgi:application"
_ADMIN_APPLICATION = "exchange_site.asgi:admin_application"


def worker_command(partition: int) -> list[str]:
    """Return the command line of a partition's matching worker.

    Its output is unbuffered, so that log lines appear at once.
    """
    return [sys.executable, "-u", "manage.py", "run_matching", f"--partition={partition}"]


def api_command() -> list[str]:
    """Return the command line of the API server, which listens on EXCHANGE_BIND and PORT."""
    return _SERVERS[settings.ENVIRONMENT.exchange_asgi_server](_APPLICATION)


def admin_command() -> list[str]:
    """Return the command line of the admin's server, which needs `admin_variables`."""
    return _SERVERS[settings.ENVIRONMENT.exchange_asgi_server](_ADMIN_APPLICATION)


def admin_variables() -> dict[str, str]:
    """Return the variables with which a server listens on EXCHANGE_ADMIN_BIND.

    Raises ValueError if it is not set.
    """
    bind = settings.ENVIRONMENT.admin_bind
    if bind is None:
        raise ValueError("EXCHANGE_ADMIN_BIND is not set")
    host, port = bind
    return {
        "EXCHANGE_BIND": host,
        "PORT": str(port),
        "EXCHANGE_API_PROCESSES": "1",
        "EXCHANGE_ADMIN_BIND": "",
    }


def _uvicorn_command(application: str) -> list[str]:
    return [sys.executable, "-m", "hosting.uvicorn_server", application]


def _daphne_command(application: str) -> list[str]:
    environment = settings.ENVIRONMENT
    bind, port = environment.exchange_bind, environment.port
    if application == _ADMIN_APPLICATION and environment.admin_bind is not None:
        bind, port = environment.admin_bind
    return [
        *(sys.executable, "-m", "hosting.daphne_server", application),
        *("--bind", bind, "--port", str(port)),
        *("--access-log", "/dev/null", "--verbosity", "0"),
        *("--application-close-timeout", str(settings.API_GRACE_SECONDS)),
    ]


_SERVERS: dict[str, Callable[[str], list[str]]] = {"uvicorn": _uvicorn_command, "daphne": _daphne_command}
