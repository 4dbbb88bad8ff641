"""The WebSocket stream: one feed an instrument in each API process, and a bounded queue for each client."""

# In an ASGI message to the server: the connection is closed next. exchange_site/uvicorn_server.py sends it behind
# all that waits for the client; other servers take no notice.
LAST_WORDS = "last_words"
