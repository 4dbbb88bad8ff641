"""Runs Django's own pages on a fixed number of threads.

Django's ASGI handler would start a thread for each request. An abandoned page runs on until
its statement ends, so the number of threads would have no limit.
"""

import functools
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.http import HttpResponse, HttpResponseBase
from django.urls import set_script_prefix

from web.errors import bad_request
from web.handler import Receive, Send

_THREAD_NAMES = "page"


class PageThreads:
    """An ASGI application that runs Django's middleware and views on `threads` threads.

    It expects the request's body in one message.
    """

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=_THREAD_NAMES)
        self._handler = _shared_handler()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"")
        # With asgiref's sync_to_async, views can reach this event loop through async_to_sync.
        respond: Any = sync_to_async(self._respond, thread_sensitive=False, executor=self._executor)
        status, headers, content = await respond(scope, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _respond(self, scope: dict[str, Any], body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        set_script_prefix("/")
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = ASGIRequest(scope, io.BytesIO(body))
        except UnicodeDecodeError as error:
            response: HttpResponseBase = bad_request(None, error)  # type: ignore[arg-type]
        else:
            response = self._handler.get_response(request)
        try:
            content = response.content if isinstance(response, HttpResponse) else b"".join(response)
        finally:
            response.close()  # This closes the database connection, too.
        headers = [
            (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in response.items()
        ]
        headers += [
            (b"set-cookie", cookie.OutputString().encode("latin-1")) for cookie in response.cookies.values()
        ]
        if not response.has_header("Content-Length"):
            headers.append((b"content-length", str(len(content)).encode()))
        return response.status_code, headers, content


@functools.cache
def _shared_handler() -> BaseHandler:
    """Return the handler that all threads share, because making one scans all static files."""
    handler = BaseHandler()
    handler.load_middleware()
    return handler


@receiver(connection_created)
def _limit_statements(sender: object, connection: Any, **kwargs: object) -> None:
    """Limit a page's statements to PAGE_SECONDS_MAX, so that its thread becomes free again."""
    if threading.current_thread().name.startswith(_THREAD_NAMES):
        with connection.cursor() as cursor:
            milliseconds = str(round(settings.PAGE_SECONDS_MAX * 1000))
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [milliseconds])
