"""What the OpenAPI document says about /stream, which OpenAPI itself has no words for."""

import json
from typing import Any

# What a client may send, as it is, and the type of the first answer.
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
    ({"type": "subscribe", "channels": ["trades"], "instrument": "NO-USD"}, "error"),
    ({"type": "subscribe", "channels": ["quotes"], "instrument": "BTC-USD"}, "error"),
]

_CHANNELS = [
    ("orderbook_deltas", "`orderbook_snapshot`, then each `orderbook_delta`: new totals by price, 0 is gone"),
    ("trades", "each `trade`"),
    ("orders", "`orders_snapshot`, then each `order_update` of `client_id`"),
    ("ticker", "`ticker` as it changes, at a bounded pace"),
    ("candles", "`candle` of `interval` as it changes, at a bounded pace"),
    ("depth", "`depth`: the best levels as they change, at a bounded pace"),
]


def describe_stream() -> str:
    """Markdown."""
    sent = "\n".join(f"{json.dumps(message)}    -> {answer}" for message, answer in STREAM_EXAMPLES)
    channels = "\n".join(f"| `{name}` | {content} |" for name, content in _CHANNELS)
    return f"""
## WebSocket /stream

Connect to `/stream` (`ws://` or `wss://`) and send JSON objects in text frames. `instrument` is a symbol, a list of
symbols, or left out: all that are active. Each line can be sent as it is; behind it is the type of the answer.

```
{sent}
```

| channel | what comes |
|---|---|
{channels}

A delta whose `previous_sequence` is not the `sequence` that you have is a gap: subscribe again. `heartbeat` comes
after 15 s of silence. Errors are `{{"type": "error", "code": "...", "message": "..."}}` and leave the connection
open; a client that does not keep up is told `slow_consumer` and closed with 1013.
"""
