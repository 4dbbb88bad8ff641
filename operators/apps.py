from django.apps import AppConfig


class OperatorsConfig(AppConfig):
    name = "operators"

    def ready(self) -> None:
        from operators import logins  # noqa: PLC0415, F401 - its signal receivers need loaded apps
