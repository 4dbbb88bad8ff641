"""Giving up root: what `serve`, `run_matching`, `run_api` and `runserver` do if root starts them."""

import logging
import os
from pathlib import Path

from django.conf import settings

from hosting.embedded.accounts import prepare_account, program_files, reaching
from hosting.embedded.privileges import (
    CAP_NET_BIND_SERVICE,
    CAPABILITY_NAMES,
    LINUX,
    Account,
    give_up_capability,
    give_up_root,
)

logger = logging.getLogger(__name__)

# The commands that go on for long and are started on their own; `serve` gives up root when its servers run.
LASTING_COMMANDS = frozenset({"run_admin", "run_api", "run_matching", "runserver"})
FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def leave_root_for(command: str) -> None:
    """Go on as the data folder's account if we are root and the command is one that lasts.

    Raises `ProcessError` and `OSError` if there is no such account or the folder can't be used.
    """
    if command in LASTING_COMMANDS and os.geteuid() == 0:
        account = prepare_account(settings.LOCATIONS, Path(settings.ENVIRONMENT_METRICS_DIR))
        leave_root(account, port=lowest_port() if command != "run_matching" else None)


def leave_root(account: Account | None, *, port: int | None = None) -> Account | None:
    """Go on as `account`, say so, and keep what a port below 1024 needs until it is listened on.

    Returns the account with the capability that its processes keep, if they need one.
    """
    if account is None or os.geteuid() != 0:
        return account
    account = reaching(account, settings.LOCATIONS.data_dir, *program_files()) or account
    give_up_root(account, and_keep=port_capability(port))
    if account.closed is None:
        logger.info("root is given up: everything runs as user %s", account.name)
    else:
        logger.warning(
            "root is given up: everything runs as user %s, which can't reach %s, and so keeps %s. It would need no"
            " capability if project, Python and EXCHANGE_DATA_DIR lay where every user may enter.",
            account.name,
            account.closed,
            "no capability that helps"
            if account.capability is None
            else CAPABILITY_NAMES[account.capability],
        )
    return account


def lowest_port() -> int:
    """The lower one of PORT and, if there is one, the port of EXCHANGE_ADMIN_BIND."""
    environment = settings.ENVIRONMENT
    return min(environment.port, environment.admin_bind[1] if environment.admin_bind else environment.port)


def port_capability(port: int | None) -> int:
    """The mask of the capability that listening on the port takes; 0 for most ports."""
    if port is None or not LINUX:
        return 0
    try:
        first_free = int(FIRST_FREE_PORT.read_text())
    except (OSError, ValueError):
        first_free = 1024
    return 1 << CAP_NET_BIND_SERVICE if port < first_free else 0


def listening() -> None:
    """To be called once a server listens: nothing that it needed for that is kept."""
    give_up_capability(CAP_NET_BIND_SERVICE)
