"""What the OpenAPI schema says about the order views."""

from typing import Any

PLACE_ORDER: dict[str, Any] = {}
CANCEL_ORDER: dict[str, Any] = {}
RETRIEVE_ORDER: dict[str, Any] = {}
LIST_ORDERS: dict[str, Any] = {}
LIST_INSTRUMENTS: dict[str, Any] = {}
