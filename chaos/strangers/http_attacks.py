"""Attacks by HTTP requests that are too long, never complete, malformed, or too many."""

import functools
import itertools
import secrets
import socket
import struct
from urllib.parse import urlencode

from chaos.strangers.crowd import ask_on, gather_crowd, hold, pour, repeat_request, repeated
from chaos.strangers.stage import Stage
from loadtools.wire import encode_get, encode_post

_NO_LINGER = struct.pack("ii", 1, 0)  # Closes a socket with a reset: see socket(7), SO_LINGER.
_POUR_BYTES_MAX = 64 * 1024 * 1024  # Bytes of one connection.
# The fewest connections, even in a short run. They must exceed the limit of one address.
_SILENT_MIN = 2_200


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()


_ENDLESS = {
    "many header lines": (_get("/instruments"), b"a:b\r\n"),
    "an endless header value": (_get("/instruments") + b"a:", b"b"),
    "an endless header name": (_get("/instruments"), b"a"),
    "an endless URL": (b"GET /", b"a"),
    "an endless query": (b"GET /instruments?", b"a=b&"),
    "endless trailers": (
        b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n",
        b"a:b\r\n",
    ),
    "an endless chunk extension": (
        b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1;",
        b"a",
    ),
}


async def endless_input(stage: Stage, kind: str) -> None:
    """Send one of _ENDLESS for as long as the exchange reads it."""
    beginning, line = _ENDLESS[kind]
    piece = repeated(line)

    async def member(stage: Stage, number: int) -> None:
        await pour(stage, beginning, piece, _POUR_BYTES_MAX)

    await gather_crowd(stage, stage.scaled(8), member)


async def silent_connections(stage: Stage) -> None:
    """Open connections that send nothing."""
    await gather_crowd(stage, max(_SILENT_MIN, stage.scaled(16_400)), lambda stage, number: hold(stage, b""))


_SLOW_BEGINNINGS = (
    (_get("/instruments"), b"a: b\r\n"),  # Half a head, then one line after the other.
    # Half a body.
    (b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", b" "),
    (b"POST /orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    (b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", b"a"),
    (b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", b""),
)


async def slow_requests(stage: Stage) -> None:
    """Send half heads, half bodies and half handshakes, each with a few bytes a second."""

    async def member(stage: Stage, number: int) -> None:
        beginning, drip = _SLOW_BEGINNINGS[number % len(_SLOW_BEGINNINGS)]
        await hold(stage, beginning, drip)

    await gather_crowd(stage, stage.scaled(1_000), member)


async def ask_for(stage: Stage, path: str) -> None:
    """Request one page repeatedly on many connections."""
    request = encode_get(stage.target, path)
    await repeat_request(stage, stage.scaled(400), request)


async def leaving_clients(stage: Stage, path: str) -> None:
    """Send GET or POST for one page on new connections, and reset each at once."""
    requests = encode_get(stage.target, path), encode_post(stage.target, path, b"{}")

    async def member(stage: Stage, number: int) -> None:
        while not stage.over:
            _, writer = await stage.connect()
            # A reset, because the ports of closed connections would stay in use for a minute.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.write(requests[number % len(requests)])
            writer.transport.abort()
            stage.counts["requests"] += 1

    await gather_crowd(stage, stage.scaled(32), member)


_MALFORMED_REQUESTS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # The beginning of TLS.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /instruments HTTP/1.1\r\nHost: no-such-host.example\r\n\r\n",
    b"GET /admin/ HTTP/1.1\r\nHost: no-such-host.example\r\n\r\n",
    b"GET /instruments HTTP/1.1\r\n\r\n",
    b"this is no HTTP\r\n\r\n",
    b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nOrigin: http://[\r\n\r\n",
)


async def malformed_requests(stage: Stage) -> None:
    """Send requests that are not HTTP, name another host, or have an invalid origin."""

    async def member(stage: Stage, number: int) -> None:
        await pour(stage, _MALFORMED_REQUESTS[number % len(_MALFORMED_REQUESTS)], b"", 1)

    await gather_crowd(stage, stage.scaled(64), member)


async def login_pages(stage: Stage) -> None:
    """Request the admin's login page repeatedly on many connections."""
    request = encode_get(stage.target, "/admin/login/")
    await repeat_request(stage, stage.scaled(130), request)


async def password_guesses(stage: Stage) -> None:
    """Try one password after the other on several connections."""
    token = secrets.token_hex(16)
    await gather_crowd(stage, stage.scaled(16), functools.partial(_guess, token=token))


async def _guess(stage: Stage, number: int, *, token: str) -> None:
    form = {"username": "admin", "password": secrets.token_hex(8), "csrfmiddlewaretoken": token}
    body = urlencode(form).encode()
    head = (
        f"POST /admin/login/ HTTP/1.1\r\nHost: {stage.target.authority}\r\nCookie: csrftoken={token}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await ask_on(stage, itertools.repeat(head.encode() + body))
