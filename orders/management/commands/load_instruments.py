"""manage.py load_instruments: the instruments that a new exchange starts with."""

from typing import Any

from django.core.management.base import BaseCommand

from orders.defaults import DEFAULT_INSTRUMENTS, load_default_instruments


class Command(BaseCommand):
    help = "Create the default instruments that are missing; change none that is there."

    def handle(self, *args: Any, **options: Any) -> None:
        created = load_default_instruments()
        self.stdout.write(f"{created} of {len(DEFAULT_INSTRUMENTS)} default instruments created")
