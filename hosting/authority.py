"""Gives up root if root starts `serve`, `run_matching`, `run_api`, `run_admin` or `runserver`."""

import logging
import os
from pathlib import Path

from django.conf import settings

from hosting.embedded.accounts import prepare_account, program_files, with_needed_capability
from hosting.embedded.privileges import (
    CAP_NET_BIND_SERVICE,
    CAPABILITY_NAMES,
    LINUX,
    Account,
    give_up_capability,
    give_up_root,
)

logger = logging.getLogger(__name__)

# Long-running commands, which give up root at once. `serve` does so once its servers run.
LASTING_COMMANDS = frozenset({"run_admin", "run_api", "run_matching", "runserver"})
_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def leave_root_for(command: str) -> None:
    """If root runs a long-running command, change to the data folder's account.

    Raises `ProcessError` and `OSError` if there is no such account or the folder can't be used.
    """
    if command in LASTING_COMMANDS and os.geteuid() == 0:
        account = prepare_account(settings.LOCATIONS, Path(settings.ENVIRONMENT_METRICS_DIR))
        leave_root(account, port=lowest_port() if command != "run_matching" else None)


def leave_root(account: Account | None, *, port: int | None = None) -> Account | None:
    """Change from root to `account`, and log it.

    If `port` is below 1024, the process keeps the capability to listen on it. Returns the account,
    with a capability if its processes need one to read their files.
    """
    if account is None or os.geteuid() != 0:
        return account
    account = with_needed_capability(account, settings.LOCATIONS.data_dir, *program_files()) or account
    give_up_root(account, and_keep=port_capability(port))
    if account.closed is None:
        logger.info("root is given up: everything runs as user %s", account.name)
    else:
        logger.warning(
            "root is given up: everything runs as user %s, which can't reach %s, and so keeps %s. To need no"
            " capability, put project, Python and EXCHANGE_DATA_DIR into folders that every user may enter.",
            account.name,
            account.closed,
            "no capability that helps"
            if account.capability is None
            else CAPABILITY_NAMES[account.capability],
        )
    return account


def lowest_port() -> int:
    """Return the lower of PORT and the port of EXCHANGE_ADMIN_BIND, if that is set."""
    environment = settings.ENVIRONMENT
    return min(environment.port, environment.admin_bind[1] if environment.admin_bind else environment.port)


def port_capability(port: int | None) -> int:
    """Return the mask of the capability that listening on the port needs. 0 for most ports."""
    if port is None or not LINUX:
        return 0
    try:
        first_free = int(_FIRST_FREE_PORT.read_text())
    except (OSError, ValueError):
        first_free = 1024
    return 1 << CAP_NET_BIND_SERVICE if port < first_free else 0


def give_up_port_capability() -> None:
    """Give up the capability to listen on low ports. Call it once the server listens."""
    give_up_capability(CAP_NET_BIND_SERVICE)
