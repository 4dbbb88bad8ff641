"""manage.py run_admin: serves only the admin, on EXCHANGE_ADMIN_BIND, for production.

`serve` starts the same program.
"""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hosting.supervisor.commands import admin_command, admin_variables
from hosting.supervisor.startup import raise_open_files_limit


class Command(BaseCommand):
    help = "Serve only the admin on EXCHANGE_ADMIN_BIND until SIGTERM or Ctrl-C."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT.admin_bind is None:
            raise CommandError(
                "EXCHANGE_ADMIN_BIND is not set: name an address and a port such as 127.0.0.1:8001"
            )
        raise_open_files_limit()
        command = admin_command()
        os.chdir(settings.BASE_DIR)
        os.execve(command[0], command, {**os.environ, **admin_variables()})  # noqa: S606 - our own interpreter
