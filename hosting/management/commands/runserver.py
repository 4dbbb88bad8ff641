"""manage.py runserver: Django's development server on Daphne. The default port is PORT."""

from daphne.management.commands.runserver import Command as DaphneCommand
from django.conf import settings


class Command(DaphneCommand):  # type: ignore[misc]
    default_port = str(settings.ENVIRONMENT.port)
