"""JSON in and out, through msgspec: numbers arrive as exact Decimals and leave as the digits they are given."""

from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any

import msgspec
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

_decoder = msgspec.json.Decoder(float_hook=Decimal)
encode_json = msgspec.json.Encoder().encode


JSON = "application/json"


def read_json(request: HttpRequest) -> Any:
    """The one UTF-8 JSON value that the body is, {} where there is none.

    Raises UnsupportedMediaType where the request says that it is something else, ParseError where it is.
    """
    body = request.body
    if not body:
        return {}
    media_type = request.META.get("CONTENT_TYPE", "")
    if media_type != JSON and media_type.split(";")[0].strip().lower() != JSON:
        raise UnsupportedMediaType(
            media_type,
            f"The body must be JSON, and Content-Type must say so: {JSON}, not {media_type[:100]!r}.",
        )
    return decode_json(body)


def decode_json(text: bytes) -> Any:
    """Raises ParseError for anything that is not one valid UTF-8 JSON value."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, ArithmeticError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"The body is not valid JSON: {error}") from None


class JSONParser(BaseParser):
    """Tells DRF and the schema what bodies are; the viewsets read theirs with `read_json`."""

    media_type = JSON

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return decode_json(stream.read())


class JSONRenderer(BaseRenderer):
    """Tells DRF and the schema what the answers are; the views write theirs with JSONResponse."""

    media_type = JSON
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return encode_json(data)


class AlwaysJSON(BaseContentNegotiation):
    """Answers are JSON whatever the client says it accepts."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class JSONResponse(HttpResponse):
    """A finished JSON answer: `content` is bytes that are JSON already, or anything msgspec encodes."""

    def __init__(self, content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else encode_json(content)
        described = {"Content-Type": JSON, "Content-Length": str(len(body)), **(headers or {})}
        super().__init__(body, status=status, headers=described)
