"""Which web pages may open the stream, and place and cancel orders."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import OriginValidator
from django.conf import settings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class AllowedOrigins(OriginValidator):  # type: ignore[misc]
    """Browsers say which page opens a WebSocket or sends a form: it must come from one of ALLOWED_HOSTS.

    Programs send no origin and are let in: the rule protects people's browsers, not the exchange.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, settings.ALLOWED_HOSTS)

    def valid_origin(self, parsed_origin: Any) -> bool:
        return parsed_origin is None or bool(self.validate_origin(parsed_origin))

    def refuses(self, scope: Mapping[str, Any]) -> bool:
        """Whether a page from elsewhere, or under a name that is not ours, makes a browser change something."""
        if scope["method"] in SAFE_METHODS:
            return False
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None:
            return False
        try:
            return not self.validate_origin(urlsplit(origin.decode("latin-1")))
        except ValueError:  # no URL at all
            return True
