"""Reads and writes JSON with msgspec.

Numbers are read as exact Decimals and written digit for digit. Documents with a repeated key are
refused. JSON does not define which of the values counts, and a proxy may have read the first one.
Most documents have as many colons as members, which proves that no key is repeated. Only other
documents are read a second time, key by key.
"""

import json
import re
from collections.abc import ItemsView, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from rest_framework.negotiation import BaseContentNegotiation

from base.encoding import encode_json
from base.refusals import FIELD_NAME_CHARACTERS_MAX, InvalidRequest, Refusal, RefusalKind

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_CONTAINERS = (dict, list)

JSON = "application/json"
SHOWN_CHARACTERS_MAX = 100  # an error message shows this much of a header's value
_BYTE_OF_ERROR = re.compile(r"\(byte ([0-9]+)\)$")


def read_json(request: HttpRequest) -> Any:
    """Return the body's JSON value, or {} if there is no body.

    Raises UnsupportedMediaType if the request's headers name another media type or a coding,
    InvalidRequest if the body is not one valid JSON value in UTF-8.
    """
    codings = request.META.get("HTTP_CONTENT_ENCODING")
    if codings is not None:
        _refuse_content_codings(codings)
    body = request.body
    if not body:
        return {}
    media_type = request.META.get("CONTENT_TYPE", "")
    if media_type != JSON and media_type.split(";")[0].strip().lower() != JSON:
        raise UnsupportedMediaType(
            f"The body must be JSON with Content-Type: {JSON}, not {media_type[:SHOWN_CHARACTERS_MAX]!r}.",
            headers={"Accept": JSON},
        )
    return decode_json(body)


def _refuse_content_codings(codings: str) -> None:
    """Raises UnsupportedMediaType if the body is compressed or encoded in another way."""
    for coding in codings.split(","):
        if coding.strip().lower() not in ("", "identity"):
            raise UnsupportedMediaType(
                f"Send the body without Content-Encoding, not with {codings[:SHOWN_CHARACTERS_MAX]!r}.",
                headers={"Accept-Encoding": "identity"},
            )


def decode_json(text: bytes) -> Any:
    """Return the value of a UTF-8 JSON text.

    Raises InvalidRequest, with a message for the client, if the text is not one valid JSON value or
    one of its objects has a repeated key.
    """
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, ArithmeticError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {_describe_error(error, text)}") from None
    # Each member of an object has a colon. With as many colons as members, no member was dropped
    # because its key is repeated. Strings may have colons, too: then the keys are looked at.
    if text.count(b":") != _count_members(value):
        _refuse_repeated_keys(text)
    return value


def _count_members(value: Any) -> int:
    """Return the number of members of all objects in a decoded document."""
    members = 0
    containers = [value] if type(value) in _CONTAINERS else []
    while containers:
        container = containers.pop()
        inner = container
        if type(container) is dict:
            members += len(container)
            inner = container.values()
        containers += [each for each in inner if type(each) in _CONTAINERS]
    return members


def _refuse_repeated_keys(text: bytes) -> None:
    """Check the keys of every object in a valid document, at any depth. Raises InvalidRequest."""
    try:
        _key_reader.decode(text.decode())
    except RecursionError:
        raise InvalidRequest("The body is not valid JSON: it is nested too deeply.") from None


def _check_keys(pairs: list[tuple[str, Any]]) -> None:
    keys = set()
    for key, _ in pairs:
        if key in keys:
            raise InvalidRequest(
                fields={key[:FIELD_NAME_CHARACTERS_MAX] or "body": ["Given more than once."]}
            )
        keys.add(key)


# Only the keys are checked, so numbers are not converted and objects are not kept.
_key_reader = json.JSONDecoder(
    object_pairs_hook=_check_keys, parse_float=len, parse_int=len, parse_constant=len
)


def _describe_error(error: Exception, text: bytes) -> str:
    """Return what is wrong, and its line and column if they are known.

    The wording does not depend on msgspec.
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8."
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    if isinstance(error, ArithmeticError | msgspec.ValidationError):
        return "a number in it has too many digits."
    found = _BYTE_OF_ERROR.search(str(error))
    if found is None:
        return "it ends in the middle of a value, or a string in it ends in the middle of an escape sequence."
    before = text[: int(found[1])]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f"syntax error at line {line}, column {column}."


class UnsupportedMediaType(Refusal):
    """The body's media type or coding is not supported.

    The response's `headers` name the supported one.
    """

    kind = RefusalKind.UNSUPPORTED
    code = "unsupported_media_type"
    default_message = "The body must be JSON."

    def __init__(self, message: str, *, headers: dict[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class AlwaysJSON(BaseContentNegotiation):
    """Selects JSON for every answer. The request's Accept header is ignored."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class JSONResponse:
    """A complete JSON answer.

    `content` is either JSON as bytes, or any object that msgspec can encode.

    Only the API's handler uses it, and needs only a status, headers and a body. Django's
    HttpResponse also handles cookies and a charset and checks each header's text. That took a tenth
    of an order's time in the API.
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
