"""The Django app that connects the other apps. It has no models."""

import gc

from django.apps import AppConfig


class ExchangeSiteConfig(AppConfig):
    name = "exchange_site"

    def ready(self) -> None:
        """Switch on the garbage collector, which `manage.py` has switched off for the imports.

        What was imported so far stays for ever, so the collector need not look at it again.
        """
        gc.freeze()
        gc.enable()
