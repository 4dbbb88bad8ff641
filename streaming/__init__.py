"""The WebSocket stream: one feed an instrument in each API process, and a bounded queue for each client."""

# In an ASGI message to the server: the connection is closed next. hosting/server/websocket.py sends it
# behind all that waits for the client; other servers take no notice.
LAST_WORDS = "last_words"

# In the extensions of an ASGI scope: the server takes a Packet in place of the text of a message, writes its frames
# and returns once the client has taken them. So does hosting/server/websocket.py; other servers get texts.
PACKET = "exchange.packet"

# In an ASGI message from the server: the client sends too many frames. Nothing more of it is read.
TOO_MANY_FRAMES = "too_many_frames"
