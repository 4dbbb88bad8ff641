"""The parts of HTTP/1.1 that a load generator needs: encoding requests, and responses from llhttp.

A general client takes 200 microseconds or more per request. On a shared machine the server under
test would lack this time. Known limits: bodies need Content-Length (no chunked transfer), no TLS,
no redirects.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

_HEAD_BYTES_MAX = 16 * 1024
_BODY_BYTES_MAX = 4 * 1024 * 1024
_STATUSES_WITHOUT_BODY = frozenset({204, 304})


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
    """One answer. The names of its headers are in lower case."""

    __slots__ = ("_headers", "body", "closes", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes, *, closes: bool) -> None:
        self.status = status
        self.body = body
        self.closes = closes  # Whether the peer closes the connection after this answer.
        self._headers = headers

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        value = self._headers.get(name.lower().encode("ascii"))
        return None if value is None else value.decode("latin-1")


class ResponseParser:
    """Splits the bytes of one connection into responses, with llhttp."""

    __slots__ = ("_body", "_head_bytes", "_headers", "_llhttp", "_responses")

    def __init__(self) -> None:
        self._llhttp = httptools.HttpResponseParser(self)
        self._responses: list[Response] = []
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0  # Received bytes of an incomplete head.
        self._body = b""

    def feed(self, data: bytes) -> list[Response]:
        """Return the responses that these bytes complete, in order.

        Raises `ResponseError` if the bytes can't be a response. The connection can't be used then.
        """
        self._head_bytes += len(data)
        try:
            self._llhttp.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ResponseError(f"{error.__context__ or error}: {data[:40]!r}") from None
        if self._head_bytes > _HEAD_BYTES_MAX:
            raise ResponseError(f"the response's head is longer than {_HEAD_BYTES_MAX} bytes")
        responses, self._responses = self._responses, []
        return responses

    # Called by llhttp

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status, length = self._llhttp.get_status_code(), self._headers.get(b"content-length")
        if length is None and status not in _STATUSES_WITHOUT_BODY:
            raise ResponseError("a response without Content-Length")
        if length is not None and int(length) > _BODY_BYTES_MAX:
            raise ResponseError(f"Content-Length {int(length)} is more than {_BODY_BYTES_MAX}")

    def on_body(self, part: bytes) -> None:
        self._body += part
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        closes = not self._llhttp.should_keep_alive()
        status = self._llhttp.get_status_code()
        self._responses.append(Response(status, self._headers, self._body, closes=closes))
        self._headers, self._body, self._head_bytes = {}, b"", 0
