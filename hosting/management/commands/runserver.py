"""manage.py runserver: Django's own, on Daphne, for development; at PORT where no address is given."""

from daphne.management.commands.runserver import Command as DaphneCommand
from django.conf import settings


class Command(DaphneCommand):  # type: ignore[misc]
    default_port = str(settings.ENVIRONMENT.port)
