"""Which web pages may open the stream, and place and cancel orders."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import OriginValidator
from django.conf import settings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class AllowedOrigins(OriginValidator):  # type: ignore[misc]
    """Browsers say which page opens a WebSocket or sends a form: it must come from one of ALLOWED_HOSTS.

    Programs send no origin and are let in: the rule protects people's browsers, not the exchange. An origin that
    is empty, sent twice, or no URL is one of those that are not allowed.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, settings.ALLOWED_HOSTS)

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if self._is_foreign(scope):
            await receive()
            await send({"type": "websocket.close"})  # before it was accepted: the handshake is answered 403
            return
        await self.application(scope, receive, send)

    def refuses(self, scope: Mapping[str, Any]) -> bool:
        """Whether a page from elsewhere, or under a name that is not ours, makes a browser change something."""
        return scope["method"] not in SAFE_METHODS and self._is_foreign(scope)

    def _is_foreign(self, scope: Mapping[str, Any]) -> bool:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if not origins:
            return False
        if len(origins) > 1:
            return True
        try:
            return not self.validate_origin(urlsplit(origins[0].decode("ascii")))
        except ValueError:  # no URL at all
            return True
