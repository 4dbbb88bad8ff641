"""The WebSocket routes."""

from django.urls import re_path

from marketdata.stream.consumer import StreamConsumer

websocket_urlpatterns = [re_path(r"^stream/?$", StreamConsumer.as_asgi())]
