"""The WebSocket routes."""

from typing import Any

from django.urls import re_path

from streaming.consumer import StreamConsumer


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answer the handshake of an unknown path with 403."""
    await receive()
    await send({"type": "websocket.close"})


websocket_urlpatterns = [re_path(r"^stream/?$", StreamConsumer.as_asgi()), re_path("", refuse)]  # type: ignore[arg-type]
