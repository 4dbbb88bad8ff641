"""The OpenAPI descriptions of the site's own views, and the final steps for the whole document."""

import threading
from typing import Any, ClassVar

from drf_spectacular.generators import SchemaGenerator

from base.documents import Count, TimeText
from streaming.description import describe_stream
from web.schema import (
    MARKET_TAG,
    OPERATIONS_TAG,
    RETRY_AFTER,
    TEXT,
    answer,
    choice,
    components,
    errors,
    field_schema,
    record,
)

_HEALTH = record(
    {
        "status": choice(["healthy", "degraded", "unhealthy"]),
        "timestamp": field_schema(TimeText),
        "uptime": {"type": "number", "minimum": 0, "description": "seconds since this process started"},
        "checks": record(
            {
                part: {**TEXT, "description": "ok, or the problem"}
                for part in ("database", "redis", "matching")
            }
        ),
    }
)

_HEALTHY_EXAMPLE = {
    "status": "healthy",
    "timestamp": "2026-01-31T12:00:00.123Z",
    "uptime": 86400.5,
    "checks": {"database": "ok", "redis": "ok", "matching": "ok"},
}
_UNHEALTHY_EXAMPLE = {
    **_HEALTHY_EXAMPLE,
    "status": "unhealthy",
    "checks": {"database": "not answering", "redis": "ok", "matching": "ok"},
}

HEALTH: dict[str, Any] = {
    "operation_id": "get_health",
    "summary": "Whether the exchange can take an order",
    "tags": [OPERATIONS_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        **errors("no_parameters"),
        200: answer(
            _HEALTH,
            "orders can be placed; if `degraded`, in some partitions only: `checks` names the others",
            _HEALTHY_EXAMPLE,
        ),
        503: answer(_HEALTH, "`checks` names the problems", _UNHEALTHY_EXAMPLE),
    },
}

LIVE: dict[str, Any] = {
    "operation_id": "get_liveness",
    "summary": "Whether this process answers",
    "tags": [OPERATIONS_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        **errors("no_parameters"),
        200: answer(record({"status": choice(["alive"])}), "this process answers", {"status": "alive"}),
    },
}

_ENDPOINT = record(
    {"path": TEXT, "methods": {"type": "array", "items": choice(["GET", "POST"])}},
)
_HERE_EXAMPLE = {
    "endpoints": [{"path": "/orders", "methods": ["GET", "POST"]}],
    "stream": "/stream",
    "documentation": "/docs",
    "openapi": "/docs/schema",
    "asyncapi": "/docs/stream",
}

HOME: dict[str, Any] = {
    "operation_id": "get_home",
    "summary": "List what is here; a browser gets the trading screen",
    "tags": [OPERATIONS_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        **errors("no_parameters"),
        200: answer(
            record(
                {
                    "endpoints": {"type": "array", "items": _ENDPOINT},
                    **dict.fromkeys(("stream", "documentation", "openapi", "asyncapi"), TEXT),
                }
            ),
            "the documented endpoints, and the paths of the stream and of the documents; if the Accept header"
            " has text/html: the trading screen",
            _HERE_EXAMPLE,
        ),
    },
}

TIME: dict[str, Any] = {
    "operation_id": "get_time",
    "summary": "Read the exchange's clock",
    "tags": [MARKET_TAG],
    "parameters": [RETRY_AFTER],
    "responses": {
        **errors("no_parameters"),
        200: answer(
            record(
                {
                    "time": field_schema(TimeText),
                    "milliseconds": {**field_schema(Count), "description": "the same moment, since 1970 UTC"},
                }
            ),
            "the time at which the answer was made",
            {"time": "2026-01-31T12:00:00.123Z", "milliseconds": 1769860800123},
        ),
    },
}


class OneDocument(SchemaGenerator):
    """Makes the document once, because it takes a second.

    The lock is needed because drf-spectacular can't make its first two documents at the same time.
    """

    _made: ClassVar[dict[str, Any] | None] = None
    _making = threading.Lock()

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        with OneDocument._making:
            if OneDocument._made is None:
                OneDocument._made = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
            return OneDocument._made


def finish_document(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Finish the OpenAPI document, as a postprocessing hook of drf-spectacular.

    Adds the shared components, removes optional trailing slashes from paths, and marks the body of
    POST /orders as required.
    """
    result["paths"] = {path.rstrip("/") or "/": operations for path, operations in result["paths"].items()}
    result["paths"]["/orders"]["post"]["requestBody"]["required"] = True
    result["components"]["schemas"] = components()
    result["info"]["description"] += "\n" + describe_stream()
    return result
