#!/usr/bin/env python
"""Django's command line for the exchange."""

import gc
import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError
from django.db.migrations.exceptions import InconsistentMigrationHistory


def main() -> None:
    # Imports make no garbage, and looking for it takes a seventh of a process's start. The collector
    # runs again once all apps are loaded: see exchange_site/apps.py.
    gc.disable()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")
    if len(sys.argv) > 1 and os.geteuid() == 0:
        _leave_root(sys.argv[1])
    try:
        execute_from_command_line(sys.argv)
    # Django's own commands raise these errors. Most of the exchange's commands handle them.
    except (OperationalError, InconsistentMigrationHistory) as error:
        from base.database import database_advice  # noqa: PLC0415 - it needs the settings

        if "--traceback" in sys.argv:
            raise
        sys.exit(f"{sys.argv[1]}: {database_advice(error)}")


def _leave_root(command: str) -> None:
    from hosting.authority import LASTING_COMMANDS, leave_root_for  # noqa: PLC0415 - few commands need it

    if command not in LASTING_COMMANDS:
        return
    from django.conf import settings  # noqa: PLC0415
    from django.utils.log import configure_logging  # noqa: PLC0415

    from hosting.embedded.processes import ProcessError, data_folder_errors  # noqa: PLC0415

    # The lines of `leave_root_for` need the log's format, too.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    try:
        with data_folder_errors():
            leave_root_for(command)
    except ProcessError as error:
        sys.exit(f"exchange: {error}")


if __name__ == "__main__":
    main()
