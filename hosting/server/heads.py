"""Checks a request's head: its limits, and the rules of RFC 9112 and 9110 that the parser omits.

The parser (llhttp) refuses invalid header lines: spaces before the colon, folded lines, lines that
end without CR, control characters, a repeated Content-Length, or Transfer-Encoding with
Content-Length. This module refuses other versions and protocols, more than one space in the request
line, and invalid Host, Transfer-Encoding and Expect headers.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.conf import settings

from web.errors import (
    ErrorResponse,
    expectation_failed,
    head_too_large,
    malformed_request,
    too_many_headers,
    unknown_coding,
    uri_too_long,
)

# These are read once, because reading django.conf.settings takes half a microsecond.
_HEAD_BYTES_MAX = settings.REQUEST_HEAD_BYTES_MAX
_HEADERS_MAX = settings.REQUEST_HEADERS_MAX
_URL_BYTES_MAX = settings.REQUEST_URL_BYTES_MAX

_HOSTS_REMEMBERED_MAX = 1_000
_REQUEST_LINE_EXTRA_BYTES = 64  # For the method, the version and spaces in a request line.
_METHOD_BYTES_MAX = 32
# A scope with this key comes from a server that has applied this module's checks.
HEAD_CHECKED = "exchange.head_checked"
_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}

# uri-host [ ":" port ], RFC 9110, section 7.2. Lists, paths and user names are not allowed.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?")


class RequestRefused(Exception):
    """The request is answered with `answer`, and the connection closed."""

    def __init__(self, answer: ErrorResponse) -> None:
        self.answer = answer


def check_beginning(head: bytes | bytearray) -> None:
    """Raise RequestRefused if no valid head can begin like this."""
    if not 65 <= head[0] <= 90:  # Methods are in capitals. TLS, for example, is not.
        raise RequestRefused(malformed_request())
    if len(head) > _METHOD_BYTES_MAX and head.find(b" ", 0, _METHOD_BYTES_MAX) < 0:
        raise RequestRefused(malformed_request())
    line_bytes_max = _URL_BYTES_MAX + _REQUEST_LINE_EXTRA_BYTES
    if len(head) > line_bytes_max and head.find(b"\r\n", 0, line_bytes_max) < 0:
        raise RequestRefused(uri_too_long())
    if len(head) > _HEAD_BYTES_MAX:
        raise RequestRefused(head_too_large())


def check_bounds(head: bytes) -> tuple[bytes, str]:
    """Check a whole head, including its final empty line. Return its target and version.

    Raises RequestRefused.
    """
    if len(head) > _HEAD_BYTES_MAX:
        check_beginning(head)
    line_end = head.find(b"\r\n")
    try:
        _, url, version = head[:line_end].split(b" ")
    except ValueError:
        raise RequestRefused(uri_too_long() if line_end > _URL_BYTES_MAX else malformed_request()) from None
    if len(url) > _URL_BYTES_MAX:
        raise RequestRefused(uri_too_long())
    if version not in _VERSIONS:
        raise RequestRefused(malformed_request())
    if head.count(b"\n") - 2 > _HEADERS_MAX:
        raise RequestRefused(too_many_headers())
    return url, _VERSIONS[version]


class Framing(NamedTuple):
    """The framing of a request's body."""

    length: int
    chunked: bool
    expects_continue: bool


# The headers that define a request's framing. `read_framing` reads only these.
FRAMING_HEADERS = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


def read_framing(version: str, headers: list[tuple[bytes, bytes]]) -> Framing:
    """Return the framing from a request's FRAMING_HEADERS.

    Names are in lower case. Raises RequestRefused.
    """
    hosts = lengths = length = 0
    chunked = expects_continue = False
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not _is_host(value):
                raise RequestRefused(
                    malformed_request("The header Host must be a host name, or a host name with a port.")
                )
        elif name == b"content-length":
            lengths += 1
            length = int(value)
        elif name == b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked":
                raise RequestRefused(unknown_coding())
            chunked = True
        elif value.strip(b" \t").lower() == b"100-continue":
            expects_continue = version != "1.0"
        else:
            raise RequestRefused(expectation_failed())
    if hosts > 1 or (hosts == 0 and version != "1.0"):
        raise RequestRefused(malformed_request("Exactly one header Host is required."))
    if chunked and version == "1.0":
        raise RequestRefused(malformed_request("HTTP/1.0 has no Transfer-Encoding: send a Content-Length."))
    if lengths > 1 or (lengths and chunked):
        raise RequestRefused(
            malformed_request("Send either Content-Length or Transfer-Encoding, and only once.")
        )
    return Framing(length, chunked, expects_continue)


@functools.lru_cache(_HOSTS_REMEMBERED_MAX)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value.strip(b" \t")) is not None


def head_refusal(scope: Mapping[str, Any]) -> ErrorResponse | None:
    """Check a request from a server that does not check heads itself.

    Return the refusal, or None if the request is valid.
    """
    headers = scope["headers"]
    if len(headers) > _HEADERS_MAX:
        return _with_close(too_many_headers())
    if len(scope["path"]) + len(scope.get("query_string", b"")) > _URL_BYTES_MAX:
        return _with_close(uri_too_long())
    try:
        framing_headers = [(name, value) for name, value in headers if name in FRAMING_HEADERS]
        read_framing(scope.get("http_version", "1.1"), framing_headers)
    except RequestRefused as refused:
        return _with_close(refused.answer)
    except ValueError:
        return _with_close(malformed_request("Content-Length is not a number."))
    return None


def _with_close(answer: ErrorResponse) -> ErrorResponse:
    answer["Connection"] = "close"
    return answer


def split_target(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request's target. Raises RequestRefused.

    The target may be in origin form, in absolute form, or an asterisk.
    """
    if b"#" in url:
        raise RequestRefused(malformed_request("The URL of a request must not have a fragment (#)."))
    path, _, query = url.partition(b"?")
    if path[:1] != b"/" and path != b"*":
        scheme, separator, rest = path.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https", b"ws", b"wss"):
            raise RequestRefused(malformed_request())
        _, _, rest = rest.partition(b"/")
        path = b"/" + rest
    return path, query
