"""Which web pages may open the stream."""

from typing import Any

from channels.security.websocket import OriginValidator
from django.conf import settings


class AllowedOrigins(OriginValidator):  # type: ignore[misc]
    """Browsers say which page opens a WebSocket: it must come from one of ALLOWED_HOSTS.

    Programs send no origin and are let in: the rule protects people's browsers, not the exchange.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, settings.ALLOWED_HOSTS)

    def valid_origin(self, parsed_origin: Any) -> bool:
        return parsed_origin is None or bool(self.validate_origin(parsed_origin))
