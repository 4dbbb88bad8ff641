"""What the OpenAPI schema says about the market data views."""

from typing import Any

ORDER_BOOK: dict[str, Any] = {}
LIST_TRADES: dict[str, Any] = {}
TRADE_STATISTICS: dict[str, Any] = {}
LIST_CANDLES: dict[str, Any] = {}
