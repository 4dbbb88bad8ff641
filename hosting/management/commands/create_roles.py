"""manage.py create_roles: creates a production database's roles once, as a superuser."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from hosting.database_roles import API, OWNER, ROLES, WORKER, create_roles


class Command(BaseCommand):
    help = f"Create the roles {', '.join(ROLES)}. POSTGRES_URI must name a superuser. May be repeated."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        for option, role in {"owner": OWNER, "api": API, "worker": WORKER}.items():
            parser.add_argument(
                f"--{option}-password-file",
                type=Path,
                help=f"a file with the password for {role}; without it the password stays as it is",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        files = {
            OWNER: options["owner_password_file"],
            API: options["api_password_file"],
            WORKER: options["worker_password_file"],
        }
        try:
            passwords = {role: file.read_text().strip() for role, file in files.items() if file is not None}
        except OSError as error:
            raise CommandError(f"a password can't be read: {error.strerror}: {error.filename}") from error
        if empty := [role for role, password in passwords.items() if not password]:
            raise CommandError(f"the password file for {empty[0]} is empty: put the password on one line")
        try:
            created = create_roles(passwords)
        except Error as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"{reason}. POSTGRES_URI must name a superuser for this command.") from error
        self.stdout.write(f"roles created: {', '.join(created) or 'none, all exist'}")
