"""The edge: what a connection may send, for how long, and how its answers leave. For uvicorn.

    bytes -> http (RequestProtocol): heads, bodies, deadlines -> uvicorn's cycle -> exchange_site.asgi
                |                                                                        |
                +-> websocket (StreamProtocol): frames  <- answers (HeldAnswer, Unread) <-+

`ends` has a connection's phases, and how it ends; `cycle` is one request with its answer. `connections` counts
connections and what they keep, and enforces deadlines. `heads`, `parser`, `chunks` and `frames` read bytes and know
no connection. Nothing is built from bytes that are beyond a bound.
"""
