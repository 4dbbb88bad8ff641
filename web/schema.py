"""The words in which the OpenAPI schemas of the views are written.

Answers are described as raw JSON schema, every field named, required and no other allowed, so that a test can
hold the running server against them. Shapes that several views share are components: `reference` points at them,
`exchange_site.schema` adds them to the document.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from base.refusals import OutcomeUnknown, RateLimited, Unavailable

Schema = dict[str, Any]

ORDERS_TAG, MARKET_TAG, OPERATIONS_TAG = "Orders", "Market", "Operations"
Action = TypeVar("Action", bound=Callable[..., Any])


def operation(**described: Any) -> Callable[[Action], Action]:
    """Decorates an action of a viewset with its OpenAPI description.

    Its query parameters are the only ones that the action accepts: see web.query.
    """
    parameters = described.get("parameters", ())
    names = frozenset(found.name for found in parameters if found.location == OpenApiParameter.QUERY)

    def decorate(action: Action) -> Action:
        action.query_parameters = names  # type: ignore[attr-defined]
        documented: Action = extend_schema(**described)(action)
        return documented

    return decorate


class ViewSchema(AutoSchema):
    """DRF's DEFAULT_SCHEMA_CLASS: an action called `list` answers what it says, not an array of that."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False


NUMBER: Schema = {"type": "number", "description": "an exact decimal"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string"}
UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
    "example": "2026-01-31T12:00:00.123Z",
}
CURSOR: Schema = {"type": "string", "description": "next_cursor of the page before"}


def choice(values: Iterable[str]) -> Schema:
    return {"type": "string", "enum": list(values)}


def nullable(schema: Schema) -> Schema:
    """The same or null, as OpenAPI 3.0 says it."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None], "nullable": True}
    return {**schema, "nullable": True}


def record(properties: dict[str, Schema]) -> Schema:
    """An object with exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def page(name: str, items: Schema) -> Schema:
    """A list under its name, and the cursor of the next page."""
    return record({name: array(items), "next_cursor": nullable(CURSOR)})


def reference(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}


ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "example": "invalid_request"},
                "message": TEXT,
                "fields": {
                    "type": "object",
                    "additionalProperties": array(TEXT),
                    "description": "what is wrong with which field; with 400 only",
                },
            },
            "required": ["code", "message"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}


class ErrorExample(NamedTuple):
    """An error as the exchange words it."""

    status: int
    message: str
    fields: dict[str, list[str]] | None = None


_INVALID = "The request is not valid."
# By code; those that have two meanings have a name for each.
_ERRORS = {
    "invalid_request": ErrorExample(400, _INVALID, {"price": ["Must be a multiple of 0.01."]}),
    "unknown_parameter": ErrorExample(
        400, _INVALID, {"symbol": ["Unknown parameter. Known here: instrument."]}
    ),
    "no_parameters": ErrorExample(400, _INVALID, {"symbol": ["Unknown parameter: there are none here."]}),
    "not_json": ErrorExample(
        400, "The body is not valid JSON: line 1, column 18 is not what JSON allows there."
    ),
    "forbidden": ErrorExample(
        403,
        "Web pages of this origin may not use the exchange: its operator names those that may in"
        " EXCHANGE_CORS_ORIGINS, and its own in EXCHANGE_ALLOWED_HOSTS.",
    ),
    "method_not_allowed": ErrorExample(405, "This endpoint takes GET, HEAD."),
    "payload_too_large": ErrorExample(413, f"At most {settings.REQUEST_BODY_BYTES_MAX} bytes are taken."),
    "uri_too_long": ErrorExample(414, "The URL is too long."),
    "unsupported_media_type": ErrorExample(
        415, "The body must be JSON, and Content-Type must say so: application/json, not 'text/plain'."
    ),
    "rate_limited": ErrorExample(429, RateLimited.default_message),
    "request_header_fields_too_large": ErrorExample(431, "The headers are too large."),
    "unavailable": ErrorExample(503, Unavailable.default_message),
    "outcome_unknown": ErrorExample(504, OutcomeUnknown.default_message),
}
_CODES = {
    "unknown_parameter": "invalid_request",
    "no_parameters": "invalid_request",
    "not_json": "invalid_request",
}
_MEANINGS = {
    400: "invalid_request: the request is not valid; `fields` says what is wrong",
    403: "forbidden: a web page of another origin",
    404: "order_not_found, instrument_not_found",
    405: "method_not_allowed: `Allow` says which are",
    409: "order_not_open or instrument_halted",
    413: "payload_too_large: the body is over 64 KiB",
    414: "uri_too_long",
    415: "unsupported_media_type: application/json is required, without a Content-Encoding",
    422: "idempotency_key_reused: the key belongs to another order of this client",
    429: "rate_limited: wait for the seconds in Retry-After",
    431: "request_header_fields_too_large",
    503: "unavailable: not taken; try again after the seconds in Retry-After",
    504: "outcome_unknown: taken, but no answer came in time; send it again with the same key",
}
_ANY_REQUEST = (405, 413, 414, 431, 503)


def describe_errors(examples: Mapping[str, ErrorExample]) -> None:
    """Add errors, by code, that `errors` is to find from now on."""
    _ERRORS.update(examples)


def errors(*wanted: int | str) -> dict[int, OpenApiResponse]:
    """The error answers of these codes, or of all codes of a status, and those that any request may get."""
    found: dict[int, list[OpenApiExample]] = {}
    for code, example in _ERRORS.items():
        if code in wanted or example.status in wanted or example.status in _ANY_REQUEST:
            found.setdefault(example.status, []).append(_error_example(code, example))
    return {
        status: OpenApiResponse(reference("Error"), description=_MEANINGS[status], examples=examples)
        for status, examples in found.items()
    }


def _error_example(name: str, example: ErrorExample) -> OpenApiExample:
    error: dict[str, Any] = {"code": _CODES.get(name, name), "message": example.message}
    if example.fields:
        error["fields"] = example.fields
    return OpenApiExample(name, {"error": error}, response_only=True, status_codes=[str(example.status)])


def answer(schema: Schema, description: str, example: Any) -> OpenApiResponse:
    """A good answer, as the exchange has given it once."""
    return OpenApiResponse(
        schema, description=description, examples=[OpenApiExample("answer", example, response_only=True)]
    )


def sent(name: str, value: Any, status: int, meaning: str = "") -> OpenApiExample:
    """A body, or the value of a parameter, that can be sent as it is, and the status of the answer."""
    summary = f"{status}: {meaning or name}"
    return OpenApiExample(name, value, summary=summary, request_only=True)


def header(name: str, schema: Schema, description: str, statuses: Iterable[int]) -> OpenApiParameter:
    """A header of the answers with these statuses."""
    return OpenApiParameter(
        name, schema, OpenApiParameter.HEADER, description=description, response=list(statuses)
    )


RETRY_AFTER = header("Retry-After", {"type": "integer", "minimum": 1}, "seconds to wait", [503])


def query(name: str, schema: Schema, description: str, *examples: OpenApiExample) -> OpenApiParameter:
    """A parameter of the query, which may be left out."""
    return OpenApiParameter(
        name, schema, OpenApiParameter.QUERY, description=description, examples=list(examples)
    )


def limit(default: int = settings.PAGE_ITEMS_DEFAULT) -> OpenApiParameter:
    """`limit` of a list."""
    bounds = {"type": "integer", "minimum": 1, "maximum": settings.PAGE_ITEMS_MAX, "default": default}
    examples = sent("ten", 10, 200), sent("none", 0, 400, "at least 1")
    return query("limit", bounds, "how many at most", *examples)


CURSOR_PARAMETER = query(
    "cursor", CURSOR, "where to go on: next_cursor of the page before, with the same filters"
)


def instrument(default: str) -> OpenApiParameter:
    """`instrument` of a query about the market."""
    return query("instrument", {"type": "string", "default": default}, "the symbol", *symbols(default))


def symbols(known: str) -> tuple[OpenApiExample, OpenApiExample]:
    return sent(known, known, 200), sent("unknown", "NO-USD", 404)
