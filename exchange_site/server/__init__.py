"""The edge: what a connection may send, for how long, and how its answers leave. For uvicorn.

    bytes -> http (RequestProtocol): heads, bodies, deadlines -> uvicorn's cycle -> exchange_site.asgi
                |                                                                        |
                +-> websocket (StreamProtocol): frames  <- answers (HeldAnswer, Unread) <-+

`connections` counts connections and enforces deadlines. `heads`, `chunks` and `frames` read bytes and know no
connection. Nothing is built from bytes that are beyond a bound.
"""
