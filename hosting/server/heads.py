"""The head of a request: its bounds, and what RFC 9112 and 9110 ask of it beyond the parser's own checks.

The parser (llhttp) refuses what is no header line: spaces before the colon, folded lines, lines that end without
CR, control characters, a repeated Content-Length, Transfer-Encoding beside Content-Length. What it lets through is
refused here: other versions and protocols, more than one space in the request line, Host, codings, expectations.
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

# Looked up once: django.conf.settings takes half a microsecond each time.
_HEAD_BYTES_MAX = settings.REQUEST_HEAD_BYTES_MAX
_HEADERS_MAX = settings.REQUEST_HEADERS_MAX
_URL_BYTES_MAX = settings.REQUEST_URL_BYTES_MAX

HOSTS_REMEMBERED_MAX = 1_000
REQUEST_LINE_EXTRA_BYTES = 64  # of a request line, for method, version and spaces
METHOD_BYTES_MAX = 32
HEAD_CHECKED = (
    "exchange.head_checked"  # in a scope: the server below has kept the bounds and rules of this module
)
VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}

# uri-host [ ":" port ], RFC 9110, section 7.2. Lists, paths and user names are not allowed.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]*)?")


class Refused(Exception):
    """The request is answered with `answer`, and the connection closed."""

    def __init__(self, answer: ErrorResponse) -> None:
        self.answer = answer


def check_beginning(head: bytes | bytearray) -> None:
    """Raises Refused for the beginning of a head that can't become a request, however it goes on."""
    if not 65 <= head[0] <= 90:  # methods are in capitals: TLS, for example, begins otherwise
        raise Refused(malformed_request())
    if len(head) > METHOD_BYTES_MAX and head.find(b" ", 0, METHOD_BYTES_MAX) < 0:
        raise Refused(malformed_request())
    line_bytes_max = _URL_BYTES_MAX + REQUEST_LINE_EXTRA_BYTES
    if len(head) > line_bytes_max and head.find(b"\r\n", 0, line_bytes_max) < 0:
        raise Refused(uri_too_long())
    if len(head) > _HEAD_BYTES_MAX:
        raise Refused(head_too_large())


def check_bounds(head: bytes) -> tuple[bytes, str]:
    """The target and the version of a whole head, with the empty line that ends it. Raises Refused."""
    if len(head) > _HEAD_BYTES_MAX:
        check_beginning(head)
    line_end = head.find(b"\r\n")
    try:
        _, url, version = head[:line_end].split(b" ")
    except ValueError:
        raise Refused(uri_too_long() if line_end > _URL_BYTES_MAX else malformed_request()) from None
    if len(url) > _URL_BYTES_MAX:
        raise Refused(uri_too_long())
    if version not in VERSIONS:
        raise Refused(malformed_request())
    if head.count(b"\n") - 2 > _HEADERS_MAX:
        raise Refused(too_many_headers())
    return url, VERSIONS[version]


class Framing(NamedTuple):
    """How the body of a request comes."""

    length: int
    chunked: bool
    expects_continue: bool


# Header lines that say how a request is framed. `read_framing` looks at no others.
FRAMING_HEADERS = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


def read_framing(version: str, headers: list[tuple[bytes, bytes]]) -> Framing:
    """From the FRAMING_HEADERS of a request, in lower case. Raises Refused."""
    hosts = lengths = length = 0
    chunked = expects_continue = False
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not _is_host(value):
                raise Refused(malformed_request("The header Host is not a name with or without a port."))
        elif name == b"content-length":
            lengths += 1
            length = int(value)
        elif name == b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked":
                raise Refused(unknown_coding())
            chunked = True
        elif value.strip(b" \t").lower() == b"100-continue":
            expects_continue = version != "1.0"
        else:
            raise Refused(expectation_failed())
    if hosts > 1 or (hosts == 0 and version != "1.0"):
        raise Refused(malformed_request("Exactly one header Host is required."))
    if chunked and version == "1.0":
        raise Refused(malformed_request("HTTP/1.0 has no Transfer-Encoding: send a Content-Length."))
    if lengths > 1 or (lengths and chunked):
        raise Refused(malformed_request("Content-Length and Transfer-Encoding: exactly one, and once."))
    return Framing(length, chunked, expects_continue)


@functools.lru_cache(HOSTS_REMEMBERED_MAX)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value.strip(b" \t")) is not None


def head_refusal(scope: Mapping[str, Any]) -> ErrorResponse | None:
    """What to answer to a request of a server that does not check heads itself; None if it may go on."""
    headers = scope["headers"]
    if len(headers) > _HEADERS_MAX:
        return _closing(too_many_headers())
    if len(scope["path"]) + len(scope.get("query_string", b"")) > _URL_BYTES_MAX:
        return _closing(uri_too_long())
    try:
        framing_headers = [(name, value) for name, value in headers if name in FRAMING_HEADERS]
        read_framing(scope.get("http_version", "1.1"), framing_headers)
    except Refused as refused:
        return _closing(refused.answer)
    except ValueError:
        return _closing(malformed_request("Content-Length is not a number."))
    return None


def _closing(answer: ErrorResponse) -> ErrorResponse:
    answer["Connection"] = "close"
    return answer


def split_target(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target, in origin form, absolute form, or an asterisk. Raises Refused."""
    if b"#" in url:
        raise Refused(malformed_request("A fragment (#) does not belong into a request."))
    path, _, query = url.partition(b"?")
    if path[:1] != b"/" and path != b"*":
        scheme, separator, rest = path.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https", b"ws", b"wss"):
            raise Refused(malformed_request())
        _, _, rest = rest.partition(b"/")
        path = b"/" + rest
    return path, query
