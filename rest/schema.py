"""The words in which the OpenAPI schemas of the views are written.

Answers are described as raw JSON schema, every field named, required and no other allowed, so that a test can
hold the running server against them. Shapes that several views share are components: `reference` points at them,
`exchange_site.schema` adds them to the document.
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

Schema = dict[str, Any]


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

_ERRORS = {
    400: "invalid_request: the request is not valid; `fields` says what is wrong",
    404: "not_found",
    405: "method_not_allowed",
    409: "order_not_open or instrument_halted",
    413: "payload_too_large: the body is over 64 KiB",
    415: "unsupported_media_type: application/json is required",
    422: "idempotency_key_reused: the key belongs to another order of this client",
    429: "rate_limited: wait for the seconds in Retry-After",
    503: "unavailable: not taken; try again after the seconds in Retry-After",
    504: "outcome_unknown: taken, but no answer came in time; send it again with the same key",
}


def errors(*statuses: int) -> dict[int, OpenApiResponse]:
    """The error answers with these statuses, and those that any request may get."""
    return {
        status: OpenApiResponse(reference("Error"), description=_ERRORS[status])
        for status in (*statuses, 405, 413, 503)
    }


def header(name: str, schema: Schema, description: str, statuses: Iterable[int]) -> OpenApiParameter:
    """A header of the answers with these statuses."""
    return OpenApiParameter(
        name, schema, OpenApiParameter.HEADER, description=description, response=list(statuses)
    )


RETRY_AFTER = header("Retry-After", {"type": "integer", "minimum": 1}, "seconds to wait", [503])


def query(name: str, schema: Schema, description: str) -> OpenApiParameter:
    """A parameter of the query, which may be left out."""
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description)


def limit(default: int = settings.PAGE_ITEMS_DEFAULT) -> OpenApiParameter:
    """`limit` of a list."""
    bounds = {"type": "integer", "minimum": 1, "maximum": settings.PAGE_ITEMS_MAX, "default": default}
    return query("limit", bounds, "how many at most")


CURSOR_PARAMETER = query("cursor", CURSOR, "where to go on: next_cursor of the page before")


def instrument(default: str) -> OpenApiParameter:
    """`instrument` of a query about the market."""
    return query("instrument", {"type": "string", "default": default}, "the symbol")
