#!/usr/bin/env python
"""Django's command line for the exchange."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exchange_site.settings")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:  # of a command of Django's: ours say what to do by themselves
        from rest.database import database_advice  # noqa: PLC0415 - it needs the settings

        if "--traceback" in sys.argv:
            raise
        sys.exit(f"{sys.argv[1]}: {database_advice(error)}")


if __name__ == "__main__":
    main()
