"""JSON in and out, through msgspec: numbers arrive as exact Decimals and leave as the digits they are given.

JSON leaves the meaning of a repeated key open, and programs that read a request before us may take the first one:
such a document is refused. Most have as many colons as members, which shows that no key is repeated; only the
others are read a second time, key by key.
"""

import json
import re
from collections.abc import ItemsView, Mapping
from decimal import Decimal
from typing import IO, Any

import msgspec
from django.http import HttpRequest, HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from rest.encoding import encode_json
from rest.exceptions import InvalidRequest, UnsupportedMediaType

_decoder = msgspec.json.Decoder(float_hook=Decimal)

JSON = "application/json"
NAMED_KEY_CHARACTERS_MAX = 64  # of a repeated key, in the answer that names it
SHOWN_CHARACTERS_MAX = 100  # of a header's value, in the answer that refuses it
_BYTE_OF_ERROR = re.compile(r"\(byte ([0-9]+)\)$")


def read_json(request: HttpRequest) -> Any:
    """The one UTF-8 JSON value that the body is, {} without a body.

    Raises UnsupportedMediaType if the request says that the body is something else, InvalidRequest if it is.
    """
    codings = request.META.get("HTTP_CONTENT_ENCODING")
    if codings is not None:
        _refuse_codings(codings)
    body = request.body
    if not body:
        return {}
    media_type = request.META.get("CONTENT_TYPE", "")
    if media_type != JSON and media_type.split(";")[0].strip().lower() != JSON:
        raise UnsupportedMediaType(
            f"The body must be JSON, and Content-Type must say so: {JSON}, not"
            f" {media_type[:SHOWN_CHARACTERS_MAX]!r}.",
            headers={"Accept": JSON},
        )
    return decode_json(body)


def _refuse_codings(codings: str) -> None:
    """Raises UnsupportedMediaType for a body that would have to be decoded first."""
    for coding in codings.split(","):
        if coding.strip().lower() not in ("", "identity"):
            raise UnsupportedMediaType(
                f"Send the body as it is, without Content-Encoding, not {codings[:SHOWN_CHARACTERS_MAX]!r}.",
                headers={"Accept-Encoding": "identity"},
            )


def decode_json(text: bytes) -> Any:
    """The one UTF-8 JSON value that the text is, without a repeated key in any of its objects.

    Raises InvalidRequest, worded for the client, for anything else.
    """
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, ArithmeticError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {_explain(error, text)}") from None
    members = len(value) if type(value) is dict else 0
    if text.count(b":") != members:
        _refuse_repeated_keys(text)
    return value


def _refuse_repeated_keys(text: bytes) -> None:
    """Look at every object of a valid document, however deep it lies. Raises InvalidRequest."""
    try:
        _key_reader.decode(text.decode())
    except RecursionError:
        raise InvalidRequest("The body is not valid JSON: it is nested too deeply.") from None


def _check_keys(pairs: list[tuple[str, Any]]) -> None:
    keys = set()
    for key, _ in pairs:
        if key in keys:
            raise InvalidRequest(fields={key[:NAMED_KEY_CHARACTERS_MAX] or "body": ["Given more than once."]})
        keys.add(key)


# Keys alone are of interest: no number is made of its digits, and no object is kept.
_key_reader = json.JSONDecoder(
    object_pairs_hook=_check_keys, parse_float=len, parse_int=len, parse_constant=len
)


def _explain(error: Exception, text: bytes) -> str:
    """What is wrong, in our own words, and where it is if that is known."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8."
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    if isinstance(error, ArithmeticError | msgspec.ValidationError):
        return "a number in it has too many digits."
    found = _BYTE_OF_ERROR.search(str(error))
    if found is None:
        return "it ends in the middle of a value, or a text in it ends in the middle of an escape sequence."
    before = text[: int(found[1])]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f"line {line}, column {column} is not what JSON allows there."


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


class JSONResponse:
    """A finished JSON answer: `content` is bytes that are JSON already, or anything msgspec encodes.

    Only the API's handler sees it, which needs a status, headers and a body. Django's HttpResponse has cookies, a
    charset and a check of each header's text beside them, and took a tenth of an order's time in the API.
    """

    __slots__ = ("content", "headers", "status_code")

    def __init__(self, content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.content: bytes = content if isinstance(content, bytes) else encode_json(content)
        self.status_code = status
        self.headers = {"Content-Type": JSON, "Content-Length": str(len(self.content)), **(headers or {})}

    def __setitem__(self, name: str, text: str) -> None:
        self.headers[name] = text

    def items(self) -> ItemsView[str, str]:
        return self.headers.items()


ApiResponse = HttpResponse | JSONResponse
