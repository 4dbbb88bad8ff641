"""Viewsets whose handlers are coroutines, on DRF's views and requests.

DRF's dispatch is synchronous. Django runs a synchronous view, and the rendering of a DRF Response,
on another thread, which takes 0.2 to 0.5 ms each. Here dispatch is a coroutine and handlers return
a complete JSONResponse, so a request never leaves the event loop's thread. Query parameters that an
action does not name are refused. A viewset's authentication, permissions and throttles run on the
event loop, so their classes must not block. Answers are always JSON.
"""

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from web.content import AlwaysJSON, ApiResponse, read_json
from web.query import check_query

_negotiator = AlwaysJSON()
_NO_PARAMETERS: dict[str, bool] = {}


class JSONRequest(Request):
    """A DRF request whose body is JSON or empty."""

    def __init__(self, request: HttpRequest, authenticators: Sequence[Any]) -> None:
        super().__init__(request, authenticators=authenticators, negotiator=_negotiator)
        # The context refers to this request. Only the garbage collector could free such a cycle.
        self.parser_context.clear()

    @property
    def data(self) -> Any:
        """The value of the body, or {} if there is no body.

        Raises UnsupportedMediaType, InvalidRequest.
        """
        return read_json(self._request)


class AsyncViewSet(ViewSet):
    """A ViewSet whose actions are coroutines and return a JSONResponse or an HttpResponse."""

    # DRF's OPTIONS is left out: it is synchronous and describes serializers. GET /docs describes
    # the endpoints.
    http_method_names = ["get", "post", "head"]

    @classmethod
    def as_view(  # type: ignore[override]
        cls, actions: Any = None, **initkwargs: Any
    ) -> Callable[..., Any]:
        """Return a view that runs these actions by method. It has the attributes of DRF's view."""
        described = super().as_view(actions, **initkwargs)
        handlers = {"head": actions["get"], **actions} if "get" in actions else actions

        async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> ApiResponse:
            viewset = cls(**initkwargs)
            viewset.action_map = handlers
            return await viewset.dispatch(request, *args, **kwargs)

        return markcoroutinefunction(update_wrapper(view, described))

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> ApiResponse:
        self.args, self.kwargs = args, kwargs
        self.action = self.action_map.get((request.method or "").lower(), "")
        self.request = drf_request = JSONRequest(request, self.get_authenticators())
        try:
            self.initial(drf_request, *args, **kwargs)
            act = getattr(self, self.action, None) or self.http_method_not_allowed
            if request.META["QUERY_STRING"] and self.action:
                check_query(request, getattr(act, "query_parameters", _NO_PARAMETERS))
            return await act(drf_request, *args, **kwargs)  # type: ignore[misc, no-any-return]
        except Exception as error:
            return self.handle_exception(error)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if self.authentication_classes:
            self.perform_authentication(request)
        if self.permission_classes:
            self.check_permissions(request)
        if self.throttle_classes:
            self.check_throttles(request)

    def _allowed_methods(self) -> list[str]:
        return [method.upper() for method in self.http_method_names if method in self.action_map]
