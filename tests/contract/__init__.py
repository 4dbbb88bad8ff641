"""What a user of the exchange can rely on, asked of a running exchange over HTTP and WebSocket."""
