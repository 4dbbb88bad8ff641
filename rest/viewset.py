"""Viewsets whose handlers are coroutines, on DRF's own request cycle.

DRF's dispatch is synchronous, and Django runs a synchronous view, or the rendering of a DRF Response, on
another thread: 0.2 to 0.5 ms each. Here dispatch is a coroutine and handlers return a finished JSONResponse,
so a request never leaves the event loop's thread. Everything in `initial` (content negotiation, permissions,
throttles) still runs, on the loop: classes used there must not block.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet


class AsyncViewSet(ViewSet):
    """A ViewSet with `async def` actions that return HttpResponse objects."""

    # DRF's own answer to OPTIONS is synchronous and describes serializers: GET /docs is for that.
    http_method_names = ["get", "post", "head"]

    @classmethod
    def as_view(  # type: ignore[override]
        cls, actions: Any = None, **initkwargs: Any
    ) -> Callable[..., Any]:
        return markcoroutinefunction(super().as_view(actions, **initkwargs))

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        drf_request: Request = self.initialize_request(request, *args, **kwargs)
        self.request = drf_request
        self.headers = self.default_response_headers
        try:
            self.initial(drf_request, *args, **kwargs)
            method = (request.method or "").lower()
            allowed = method in self.http_method_names
            handler = getattr(self, method, None) if allowed else None
            if handler is None:
                self.http_method_not_allowed(drf_request)
            else:
                return await handler(drf_request, *args, **kwargs)  # type: ignore[no-any-return]
        except Exception as error:
            return self.handle_exception(error)
        raise AssertionError("http_method_not_allowed always raises")
