"""The server's edge: limits what connections send, and sends their answers. Runs in uvicorn.

    arrival (ArrivingProtocol): until the first byte
                |
    bytes -> http (RequestProtocol): heads, bodies, deadlines -> uvicorn's cycle -> exchange_site.asgi
                |                                                                        |
                +-> websocket (StreamProtocol): frames  <- answers (HeldAnswer, Unread) <-+

- `ends` has the phases of a connection, and its end.
- `cycle` is one request with its answer.
- `connections` counts connections and their memory, and enforces deadlines.
- `heads`, `parser`, `chunks` and `frames` read bytes and do not know connections.

Bytes beyond a limit are never parsed.
"""
