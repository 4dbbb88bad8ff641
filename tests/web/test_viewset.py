"""The viewsets' request cycle: DRF's checks before an action, and the request that actions get."""

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from web.content import JSONResponse
from web.handler import ApiRequest
from web.schema import TEXT, operation, query
from web.viewset import AsyncViewSet, JSONRequest


class KnownClients(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.META.get("HTTP_X_CLIENT") == "known")


class Echo(AsyncViewSet):
    @operation(parameters=[query("a", TEXT, "what comes back")])
    async def list(self, request: Request) -> JSONResponse:
        return JSONResponse({"query": request.query_params.get("a")})

    @operation(parameters=[query("a", TEXT, "no meaning")])
    async def create(self, request: Request) -> JSONResponse:
        return JSONResponse(request.data, status=201)


class Guarded(Echo):
    permission_classes = [KnownClients]


def request(method: str, *, body: bytes = b"", headers: Mapping[bytes, bytes] | None = None) -> ApiRequest:
    scope = {
        "method": method,
        "path": "/echo",
        "query_string": b"a=%C3%A9",
        "headers": [(b"content-type", b"application/json"), *(headers or {}).items()],
    }
    return ApiRequest(scope, body)


def answer(viewset: type[AsyncViewSet], asked: ApiRequest) -> JSONResponse:
    view = viewset.as_view({"get": "list", "post": "create"})
    response: JSONResponse = asyncio.run(view(asked))
    return response


def test_query_and_body_reach_the_action() -> None:
    assert answer(Echo, request("GET")).content == '{"query":"é"}'.encode()
    assert answer(Echo, request("HEAD")).status_code == 200
    created = answer(Echo, request("POST", body=b'{"a":[1,2.50]}'))
    assert (created.status_code, created.content) == (201, b'{"a":[1,"2.50"]}')
    assert answer(Echo, request("POST")).content == b"{}"


def test_the_refusal_of_a_method_lists_the_allowed_ones() -> None:
    refused = answer(Echo, request("DELETE"))
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST, HEAD")


@pytest.mark.parametrize(("client", "status"), [(b"known", 200), (b"other", 403)])
def test_the_permissions_of_a_viewset_are_checked(client: bytes, status: int) -> None:
    assert answer(Guarded, request("GET", headers={b"x-client": client})).status_code == status


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_hyphen() -> None:
    assert answer(Guarded, request("GET", headers={b"x_client": b"known"})).status_code == 403


def test_a_request_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            answer(Echo, request("POST", body=b"{}"))
        alive = [found for found in gc.get_objects() if isinstance(found, ApiRequest | JSONRequest)]
        assert alive == []
    finally:
        gc.enable()
