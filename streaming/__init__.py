"""The WebSocket stream /stream.

Each API process has one hub, one feed for each followed instrument, and one outbox, a bounded
queue, for each client.
"""

# A key in an ASGI message to the server: the message is the last one before the connection is
# closed. hosting/server/websocket.py queues it behind all pending data. Other servers ignore the
# key.
LAST_WORDS = "last_words"

# A key in the extensions of an ASGI scope: the server accepts a Packet in place of a message's
# text, writes its frames, and returns once the client has read them. hosting/server/websocket.py
# does this. Other servers get texts.
PACKET = "exchange.packet"

# A key in that extension: a function that counts a message together with the connection's other
# frames. It returns whether the number of messages and frames is still allowed.
COUNT_MESSAGE = "count_message"

# Another key in that extension: a function that has the connection watched. The server pings it, and
# calls the given function once if nothing comes from it for too long.
WATCH_PEER = "watch_peer"

# A key in an ASGI message from the server: the client sent too many frames. The server reads no
# more of them.
TOO_MANY_FRAMES = "too_many_frames"
