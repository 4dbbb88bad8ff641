"""manage.py load_instruments: creates the default instruments of a new exchange."""

from typing import Any

from django.core.management.base import BaseCommand

from instruments.defaults import DEFAULT_INSTRUMENTS, load_default_instruments


class Command(BaseCommand):
    help = "Create the missing default instruments. Existing instruments are not changed."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        created = load_default_instruments()
        self.stdout.write(f"{created} of {len(DEFAULT_INSTRUMENTS)} default instruments created")
