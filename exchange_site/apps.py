"""The app that ties the others together; it has no models."""

from django.apps import AppConfig


class ExchangeSiteConfig(AppConfig):
    name = "exchange_site"
