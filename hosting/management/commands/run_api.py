"""manage.py run_api: runs only the API server, for production. `serve` starts the same program."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from hosting.supervisor.commands import api_command
from hosting.supervisor.startup import raise_open_files_limit


class Command(BaseCommand):
    help = "Serve HTTP and WebSocket on EXCHANGE_BIND and PORT until SIGTERM or Ctrl-C."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        raise_open_files_limit()
        command = api_command()
        os.chdir(settings.BASE_DIR)
        os.execv(command[0], command)  # noqa: S606 - our own interpreter; signals reach the server itself
