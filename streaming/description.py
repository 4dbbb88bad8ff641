"""The text about /stream in the OpenAPI document, because OpenAPI can't describe WebSockets.

The AsyncAPI document of streaming/asyncapi.py has all details, and the examples as well.
"""

import json
from typing import Any

# Requests that a client may send unchanged, each with the type of its first answer.
STREAM_EXAMPLES: list[tuple[dict[str, Any], str]] = [
    (
        {"type": "subscribe", "channels": ["orderbook_deltas", "trades"], "instrument": "BTC-USD"},
        "subscribed",
    ),
    (
        {"type": "subscribe", "channels": ["orders"], "instrument": "BTC-USD", "client_id": "client-A"},
        "subscribed",
    ),
    (
        {
            "type": "subscribe",
            "channels": ["candles"],
            "instrument": ["BTC-USD", "ETH-USD"],
            "interval": "5m",
        },
        "subscribed",
    ),
    ({"type": "subscribe", "channels": ["ticker", "depth"], "throttle_ms": 1000}, "subscribed"),
    ({"type": "unsubscribe", "channels": ["trades"], "instrument": "BTC-USD"}, "unsubscribed"),
    ({"type": "ping", "id": 7}, "pong"),
    (
        {
            "type": "place_order",
            "id": 8,
            "order": {
                "client_id": "client-A",
                "instrument": "BTC-USD",
                "side": "buy",
                "type": "limit",
                "price": 100,
                "quantity": 0.1,
                "post_only": True,
            },
        },
        "result",
    ),
    (
        {"type": "amend_order", "id": 9, "order_id": "01990000-0000-7000-8000-000000000000", "price": 101},
        "result",
    ),
    ({"type": "cancel_orders", "id": 10, "client_id": "client-Z"}, "result"),
    ({"type": "cancel_after", "id": 11, "client_id": "client-Z", "timeout_seconds": 60}, "result"),
    ({"type": "cancel_on_disconnect", "id": 12, "client_id": "client-Z", "enabled": True}, "result"),
    ({"type": "subscribe", "channels": ["trades"], "instrument": "NO-USD"}, "error"),
    (
        {"type": "subscribe", "channels": ["fills"], "instrument": "BTC-USD", "client_id": "client-A"},
        "subscribed",
    ),
    ({"type": "subscribe", "channels": ["quotes"], "instrument": "BTC-USD"}, "subscribed"),
    ({"type": "subscribe", "channels": ["quote"], "instrument": "BTC-USD"}, "error"),
]

_CHANNELS = [
    (
        "orderbook_deltas",
        "`orderbook_snapshot`, then each `orderbook_delta`: new totals by price (0: the level is gone)",
    ),
    ("trades", "each `trade`"),
    ("orders", "`orders_snapshot`, then each `order_update` of `client_id`"),
    ("fills", "each `fill` of `client_id`"),
    ("quotes", "`quote`: the best bid and ask, each time they change"),
    ("ticker", "`ticker` after changes, at a bounded pace"),
    ("candles", "`candle` of `interval` after changes, at a bounded pace"),
    ("depth", "`depth`: the best levels after changes, at a bounded pace"),
]


def describe_stream() -> str:
    """Return the description of /stream in Markdown."""
    sent = "\n".join(f"{json.dumps(message)}    -> {answer}" for message, answer in STREAM_EXAMPLES)
    channels = "\n".join(f"| `{name}` | {content} |" for name, content in _CHANNELS)
    return f"""
## WebSocket /stream

Connect to `/stream` (`ws://` or `wss://`) and send JSON objects in text frames. `instrument` is a symbol or a list
of symbols. Without it, a request is about all active instruments. Each line can be sent unchanged. The type of its
answer follows the arrow. The AsyncAPI document at [/docs/stream](/docs/stream) has the schema of each message.

```
{sent}
```

| channel | messages |
|---|---|
{channels}

If the `previous_sequence` of a delta is not your last `sequence`, a message is missing: subscribe again. After 15 s
without a message, a `heartbeat` is sent. Errors are `{{"type": "error", "code": "...", "message": "..."}}` and
leave the connection open. A client that reads too slowly gets the error `slow_consumer` and is closed with 1013.
"""
