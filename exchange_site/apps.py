"""The Django app that connects the other apps. It has no models."""

from django.apps import AppConfig


class ExchangeSiteConfig(AppConfig):
    name = "exchange_site"
