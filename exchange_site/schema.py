"""What the OpenAPI schema says about the site's own views, and the last touches to the whole document."""

import threading
from typing import Any, ClassVar

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiResponse

from marketdata.schema import CANDLE, LEVEL, TRADE
from orders.schema import FILL, INSTRUMENT, ORDER
from rest.schema import ERROR, RETRY_AFTER, TEXT, TIME, choice, errors, record

_HEALTH = record(
    {
        "status": choice(["healthy", "degraded", "unhealthy"]),
        "timestamp": TIME,
        "uptime": {"type": "number", "minimum": 0, "description": "seconds since this process started"},
        "checks": record(
            {
                part: {**TEXT, "description": "ok, or what is wrong"}
                for part in ("database", "redis", "matching")
            }
        ),
    }
)

HEALTH: dict[str, Any] = {
    "operation_id": "get_health",
    "parameters": [RETRY_AFTER],
    "responses": {
        **errors(),
        200: OpenApiResponse(
            _HEALTH,
            description="an order can be taken; `degraded`: in some partitions only, `checks` names the others",
        ),
        503: OpenApiResponse(_HEALTH, description="`checks` says what is wrong"),
    },
}

LIVE: dict[str, Any] = {
    "operation_id": "get_liveness",
    "parameters": [],
    "responses": {
        200: OpenApiResponse(record({"status": choice(["alive"])}), description="this process answers")
    },
}

_COMPONENTS = {
    "Candle": CANDLE,
    "Error": ERROR,
    "Fill": FILL,
    "Instrument": INSTRUMENT,
    "Level": LEVEL,
    "Order": ORDER,
    "Trade": TRADE,
}


class OneDocument(SchemaGenerator):
    """The document is made once: it takes a while, and drf-spectacular can't make two at a time at first."""

    _made: ClassVar[dict[str, Any] | None] = None
    _making = threading.Lock()

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        with OneDocument._making:
            if OneDocument._made is None:
                OneDocument._made = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
            return OneDocument._made


def finish_document(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """A postprocessing hook: the shared shapes, paths without the slash that is optional, and the one body that
    must be there.
    """
    result["paths"] = {path.rstrip("/"): operations for path, operations in result["paths"].items()}
    result["paths"]["/orders"]["post"]["requestBody"]["required"] = True
    result["components"]["schemas"] = _COMPONENTS
    return result
