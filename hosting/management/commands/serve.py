"""`manage.py serve`: the whole exchange, until Ctrl-C."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from hosting.embedded.processes import ProcessError
from hosting.supervisor.exchange import Exchange


class Command(BaseCommand):
    help = "Start PostgreSQL, Valkey, the matching workers and the API, and serve until Ctrl-C"
    requires_system_checks = []  # So a busy port is reported at once and in one line.

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            Exchange(self._write).serve()
        except ProcessError as error:
            sys.exit(f"exchange: {error}")

    def _write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
