"""The metrics of the stream."""

from prometheus_client import Counter, Gauge

connections = Gauge(
    "exchange_websocket_connections", "Open WebSocket connections", multiprocess_mode="livesum"
)
messages_sent = Counter("exchange_websocket_messages_sent", "Messages given to WebSocket clients' queues")
messages_received = Counter("exchange_websocket_messages_received", "Messages from WebSocket clients")
slow_consumers = Counter("exchange_websocket_slow_consumers", "Clients closed because they did not keep up")
gaps = Counter("exchange_market_data_gaps", "Times that a feed lost a batch and took a new snapshot")
messages_dropped = Counter(
    "exchange_websocket_messages_dropped", "Messages that waited for clients which were closed as too slow"
)
snapshots = Counter("exchange_websocket_snapshots", "Snapshots of books and open orders that were made")
unread_bytes = Gauge(
    "exchange_websocket_unread_bytes",
    "Bytes that wait for WebSocket clients, each shared one once a process",
    multiprocess_mode="livesum",
)
