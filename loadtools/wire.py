"""The parts of HTTP/1.1 that a load generator needs: encoding requests, and parsing responses.

A general client takes 200 microseconds or more per request. On a shared machine the server under
test would lack this time. Known limits: bodies need Content-Length (no chunked transfer), no TLS,
no redirects.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 4 * 1024 * 1024
STATUSES_WITHOUT_BODY = frozenset({204, 304})


class TargetError(ValueError):
    """The URL names another machine, or is not an http:// URL."""


class ResponseError(ValueError):
    """The peer sent bytes that this parser can't read as a response."""


@dataclass(frozen=True, slots=True)
class Target:
    """The target of the requests: a host, which is this machine, and a port."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}"


def loopback_target(url: str) -> Target:
    """Return the target of a URL. Raises `TargetError` if it is not a loopback address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise TargetError(f"{url!r} is not a URL: {error}. Write http://127.0.0.1:8000") from None
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query:
        raise TargetError(f"{url!r} is not the address of an exchange. Write http://127.0.0.1:8000")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise TargetError(
            f"{host!r} is not a loopback address: the load tools only send to this machine. "
            "Run them where the exchange runs, with http://127.0.0.1:PORT"
        )
    return Target(host, port or 80)


def encode_post(target: Target, path: str, body: bytes) -> bytes:
    """Return a whole POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {target.authority}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def encode_get(target: Target, path: str) -> bytes:
    """Return a whole GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {target.authority}\r\n\r\n".encode("ascii")


class Response:
    """One answer. `head` is the status line and the headers in lower case."""

    __slots__ = ("body", "head", "status")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def closes(self) -> bool:
        """Whether the peer closes the connection after this answer."""
        return b"\r\nconnection: close" in self.head

    def header(self, name: str) -> str | None:
        return _header(self.head, name.lower().encode("ascii"))


class ResponseParser:
    """Splits the bytes of one connection into responses. Keeps an incomplete response."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Response]:
        """Return the responses that these bytes complete, in order.

        Raises `ResponseError` if the bytes can't be a response. The connection can't be used then.
        """
        if self._rest:
            data = self._rest + data
        responses = []
        position = 0
        while position < len(data):
            taken = _take_response(data, position)
            if taken is None:
                break
            response, position = taken
            responses.append(response)
        self._rest = data[position:] if position else data
        return responses


def _take_response(data: bytes, position: int) -> tuple[Response, int] | None:
    """Return the response at `position` and its end. None if it is incomplete."""
    head_end = data.find(b"\r\n\r\n", position)
    start = data[position : position + 9]
    if not (b"HTTP/1.1 ".startswith(start) or b"HTTP/1.0 ".startswith(start)):
        raise ResponseError(f"not an HTTP response: {data[position : position + 40]!r}")
    if head_end < 0:
        if len(data) - position > HEAD_BYTES_MAX:
            raise ResponseError(f"the response's head is longer than {HEAD_BYTES_MAX} bytes")
        return None
    head = data[position:head_end].lower()
    digits = head[9:12]
    if not digits.isdigit():
        raise ResponseError(f"no status in {head[:40]!r}")
    status = int(digits)
    body_start = head_end + 4
    body_end = body_start + _content_length(head, status)
    if body_end > len(data):
        return None
    return Response(status, head, data[body_start:body_end]), body_end


def _content_length(head: bytes, status: int) -> int:
    text = _header(head, b"content-length")
    if text is None:
        if status in STATUSES_WITHOUT_BODY:
            return 0
        raise ResponseError(f"a response without Content-Length: {head[:80]!r}")
    if not text.isdigit() or int(text) > BODY_BYTES_MAX:
        raise ResponseError(f"Content-Length {text!r} is not a number up to {BODY_BYTES_MAX}")
    return int(text)


def _header(head: bytes, name: bytes) -> str | None:
    """Return a header's value. The head must be in lower case."""
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip().decode("latin-1")
