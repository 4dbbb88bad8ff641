"""Building blocks for the OpenAPI descriptions of the views.

Answers are described as raw JSON schemas. Each names every field, requires all of them (except
`fields` in errors) and allows no others, so that a test can check the answers of a running server.
A schema that several views share is a component: `reference` refers to it, and
`exchange_site.schema` adds it to the document.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from msgspec import Struct

from base.refusals import OutcomeUnknown, RateLimited, Unavailable

Schema = dict[str, Any]

ORDERS_TAG, MARKET_TAG, OPERATIONS_TAG = "Orders", "Market", "Operations"
Action = TypeVar("Action", bound=Callable[..., Any])


def operation(**described: Any) -> Callable[[Action], Action]:
    """Decorate an action of a viewset with its OpenAPI description.

    The action accepts only the query parameters in the description (see web.query). A parameter
    whose schema is an array may be repeated.
    """
    parameters = [
        found for found in described.get("parameters", ()) if found.location == OpenApiParameter.QUERY
    ]
    # Whether a parameter may be repeated, by its name.
    accepted = {found.name: found.type.get("type") == "array" for found in parameters}

    def decorate(action: Action) -> Action:
        action.query_parameters = accepted  # type: ignore[attr-defined]
        documented: Action = extend_schema(**described)(action)
        return documented

    return decorate


class ViewSchema(AutoSchema):
    """DRF's DEFAULT_SCHEMA_CLASS.

    It does not turn the described answer of a `list` action into an array.
    """

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False


TEXT: Schema = {"type": "string"}
CURSOR: Schema = {"type": "string", "description": "next_cursor of the previous page"}


def choice(values: Iterable[str]) -> Schema:
    return {"type": "string", "enum": list(values)}


def nullable(schema: Schema) -> Schema:
    """Return a schema that also allows null, in the notation of OpenAPI 3.0."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None], "nullable": True}
    return {**schema, "nullable": True}


def record(properties: dict[str, Schema]) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def page(name: str, item: type[Struct]) -> Schema:
    """Return the schema of a page: a list called `name`, and the cursor of the next page."""
    items = {"type": "array", "items": document(item)}
    return record({name: items, "next_cursor": nullable(CURSOR)})


def reference(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}


_documents: set[type[Struct]] = set()


def document(described: type[Struct]) -> Schema:
    """Return a reference to the schema of a struct that is encoded in answers."""
    _documents.add(described)
    return reference(described.__name__.removesuffix("Document"))


def field_schema(described: Any) -> Schema:
    """Return the schema for the type of a struct field."""
    schema: Schema = _for_openapi(msgspec.json.schema(described))
    return schema


def components() -> dict[str, Schema]:
    """Return the schemas to which `reference` refers, by name."""
    _, found = msgspec.json.schema_components(_documents, ref_template="#/components/schemas/{name}")
    described = {name.removesuffix("Document"): _for_openapi(schema) for name, schema in found.items()}
    return {"Error": ERROR, **described}


def _for_openapi(schema: Any) -> Any:
    """Return msgspec's schema in the notation of OpenAPI 3.0. Objects allow no other fields."""
    if isinstance(schema, list):
        return [_for_openapi(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"].removesuffix("Document")}
    if "anyOf" in schema:
        [given] = [_for_openapi(part) for part in schema["anyOf"] if part != {"type": "null"}]
        rest = {name: value for name, value in schema.items() if name != "anyOf"}
        return nullable({**given, **rest})
    converted = {name: _for_openapi(value) for name, value in schema.items() if name != "title"}
    if converted.get("type") == "object":
        converted.setdefault("additionalProperties", False)
        if "properties" in converted:  # Fields with a default are in answers, too.
            converted["required"] = list(converted["properties"])
    return converted


ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "example": "invalid_request"},
                "message": TEXT,
                "reason": {"type": "string", "description": "only with amend_refused"},
                "fields": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": TEXT},
                    "description": "the errors of each invalid field; only with 400",
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
    """An example of an error response."""

    status: int
    message: str
    fields: dict[str, list[str]] | None = None
    details: dict[str, str] = {}


_INVALID = "The request is not valid."
# The keys are error codes. A code with several meanings has one key for each, and _CODES maps these
# keys to the code.
_ERRORS = {
    "invalid_request": ErrorExample(400, _INVALID, {"price": ["Must be a multiple of 0.01."]}),
    "unknown_parameter": ErrorExample(
        400, _INVALID, {"symbol": ["Unknown parameter. Known parameters: instrument."]}
    ),
    "no_parameters": ErrorExample(
        400, _INVALID, {"symbol": ["Unknown parameter. This endpoint has no parameters."]}
    ),
    "not_json": ErrorExample(400, "The body is not valid JSON: syntax error at line 1, column 18."),
    "forbidden": ErrorExample(
        403,
        "Web pages of this origin may not use the exchange. The operator can allow the origin in"
        " EXCHANGE_CORS_ORIGINS, or its host in EXCHANGE_ALLOWED_HOSTS.",
    ),
    "method_not_allowed": ErrorExample(405, "This endpoint allows GET, HEAD."),
    "payload_too_large": ErrorExample(
        413, f"The body may have at most {settings.REQUEST_BODY_BYTES_MAX} bytes."
    ),
    "uri_too_long": ErrorExample(414, "The URL is too long."),
    "unsupported_media_type": ErrorExample(
        415, "The body must be JSON with Content-Type: application/json, not 'text/plain'."
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
    400: "invalid_request: the request is not valid; `fields` names the invalid fields",
    403: "forbidden: a web page of another origin",
    404: "order_not_found, instrument_not_found",
    405: "method_not_allowed: `Allow` lists the allowed methods",
    409: "order_not_open, instrument_halted or amend_refused",
    413: "payload_too_large: the body is over 64 KiB",
    414: "uri_too_long",
    415: "unsupported_media_type: application/json is required, without a Content-Encoding",
    422: "idempotency_key_reused: the key belongs to another order of this client",
    429: "rate_limited: wait for the seconds in Retry-After",
    431: "request_header_fields_too_large",
    503: "unavailable: not processed; try again after the seconds in Retry-After",
    504: "outcome_unknown: no result in time, the request may have been processed; send it again with the same key",
}
_ANY_REQUEST = (405, 413, 414, 431, 503)


def describe_errors(examples: Mapping[str, ErrorExample]) -> None:
    """Register more errors, by code, for later calls of `errors`."""
    _ERRORS.update(examples)


def errors(*wanted: int | str) -> dict[int, OpenApiResponse]:
    """Return the error answers for these codes or statuses, and those that any request may get."""
    found: dict[int, list[OpenApiExample]] = {}
    for code, example in _ERRORS.items():
        if code in wanted or example.status in wanted or example.status in _ANY_REQUEST:
            found.setdefault(example.status, []).append(_error_example(code, example))
    return {
        status: OpenApiResponse(reference("Error"), description=_MEANINGS[status], examples=examples)
        for status, examples in found.items()
    }


def _error_example(name: str, example: ErrorExample) -> OpenApiExample:
    error: dict[str, Any] = {"code": _CODES.get(name, name), "message": example.message, **example.details}
    if example.fields:
        error["fields"] = example.fields
    return OpenApiExample(name, {"error": error}, response_only=True, status_codes=[str(example.status)])


def answer(schema: Schema, description: str, example: Any) -> OpenApiResponse:
    """Return the description of a successful answer. The example comes from a running exchange."""
    return OpenApiResponse(
        schema, description=description, examples=[OpenApiExample("answer", example, response_only=True)]
    )


def sent(name: str, value: Any, status: int, meaning: str = "") -> OpenApiExample:
    """Return an example of a body or parameter, which can be sent unchanged.

    `status` is the status of its answer.
    """
    summary = f"{status}: {meaning or name}"
    return OpenApiExample(name, value, summary=summary, request_only=True)


def header(name: str, schema: Schema, description: str, statuses: Iterable[int]) -> OpenApiParameter:
    """Return the description of a header in the answers with these statuses."""
    return OpenApiParameter(
        name, schema, OpenApiParameter.HEADER, description=description, response=list(statuses)
    )


RETRY_AFTER = header("Retry-After", {"type": "integer", "minimum": 1}, "seconds to wait", [503])


def query(name: str, schema: Schema, description: str, *examples: OpenApiExample) -> OpenApiParameter:
    """Return the description of an optional query parameter."""
    return OpenApiParameter(
        name, schema, OpenApiParameter.QUERY, description=description, examples=list(examples)
    )


def limit(default: int = settings.PAGE_ITEMS_DEFAULT) -> OpenApiParameter:
    """Return the description of a list's `limit`."""
    bounds = {"type": "integer", "minimum": 1, "maximum": settings.PAGE_ITEMS_MAX, "default": default}
    examples = sent("ten", 10, 200), sent("none", 0, 400, "at least 1")
    return query("limit", bounds, "the maximum number of items", *examples)


CURSOR_PARAMETER = query("cursor", CURSOR, "next_cursor of the previous page, with the same filters")
