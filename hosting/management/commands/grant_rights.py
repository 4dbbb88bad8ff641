"""manage.py grant_rights: grants the database rights of API and workers.

The owner runs it after each migration.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from hosting.database_roles import API, WORKER, grant_rights, unlisted_tables


class Command(BaseCommand):
    help = f"Give {API} and {WORKER} exactly their rights. POSTGRES_URI must name the tables' owner."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            grant_rights()
        except Error as error:
            reason = " ".join(str(error).split())
            raise CommandError(
                f"{reason}. Run create_roles first, and let POSTGRES_URI name the owner."
            ) from error
        for table in sorted(unlisted_tables()):
            self.stderr.write(f"only the owner may use {table}: list it in hosting/database_roles.py")
        self.stdout.write("rights granted")
