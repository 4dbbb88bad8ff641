"""GET /docs/schema and /docs/stream: the documents for programs, which are answered from memory.

Each process makes each of them once. Making the OpenAPI document takes a second, so the first
request has it made on a thread. Other requests wait for it.
"""

import asyncio
import functools
import math
from typing import Any, NamedTuple

from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from rest_framework.request import Request

from base.encoding import encode_json
from base.loops import per_event_loop
from base.refusals import InvalidRequest
from base.shared import SharedResult
from exchange_site.schema import OneDocument
from streaming.asyncapi import VERSION, stream_document
from web.content import JSON, JSONResponse
from web.schema import choice, operation, query
from web.viewset import AsyncViewSet

_FORMATS = ("yaml", "json")
# Media types that an Accept header may name, each with its format.
_MEDIA_TYPES = {
    "application/vnd.oai.openapi": "yaml",
    "application/yaml": "yaml",
    "application/vnd.oai.openapi+json": "json",
    JSON: "json",
}
_DEFAULT_MEDIA_TYPES = {"yaml": "application/vnd.oai.openapi", "json": "application/vnd.oai.openapi+json"}

_STREAM_MEDIA_TYPE = f"application/vnd.aai.asyncapi+json;version={VERSION}"


class _RenderedDocument(NamedTuple):
    """The document in both formats."""

    yaml: bytes
    json: bytes


class DocumentViewSet(AsyncViewSet):
    """The API's description for programs."""

    schema = None  # The document does not describe its own endpoint.

    @operation(parameters=[query("format", choice(_FORMATS), "of the document")])
    async def list(self, request: Request) -> JSONResponse:
        """The OpenAPI document, in the format of `format`, else of the Accept header, else YAML."""
        media_type = _media_type(request.query_params.get("format"), request.META.get("HTTP_ACCEPT", ""))
        document = await _shared_document().get()
        content = document.json if _MEDIA_TYPES[media_type] == "json" else document.yaml
        return JSONResponse(content, headers={"Content-Type": media_type, "Vary": "Accept"})


class StreamDocumentViewSet(AsyncViewSet):
    """The description of /stream for programs."""

    schema = None

    @operation()
    async def list(self, request: Request) -> JSONResponse:
        """The AsyncAPI document."""
        return JSONResponse(_stream_json(), headers={"Content-Type": _STREAM_MEDIA_TYPE})


@functools.cache
def _stream_json() -> bytes:
    return encode_json(stream_document())


@per_event_loop
def _shared_document() -> SharedResult[_RenderedDocument]:
    return SharedResult(functools.partial(asyncio.to_thread, _render), seconds=math.inf)


def _media_type(name: str | None, accept: str) -> str:
    """Return the media type of the answer. Raises InvalidRequest if `name` is not a format."""
    if name is not None:
        if name not in _FORMATS:
            raise InvalidRequest(fields={"format": [f"Must be one of: {', '.join(_FORMATS)}."]})
        return _DEFAULT_MEDIA_TYPES[name]
    for accepted in accept.split(","):
        media_type = accepted.partition(";")[0].strip().lower()
        if media_type in _MEDIA_TYPES:
            return media_type
    return _DEFAULT_MEDIA_TYPES["yaml"]


def _render() -> _RenderedDocument:
    document: Any = OneDocument().get_schema(public=True)  # type: ignore[no-untyped-call]
    return _RenderedDocument(
        yaml=OpenApiYamlRenderer().render(document, renderer_context={}),  # type: ignore[no-untyped-call]
        json=OpenApiJsonRenderer().render(document, renderer_context={}),
    )
