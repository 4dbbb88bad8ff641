"""Parses the heads of one connection's requests with llhttp, one after the other.

llhttp gets each head in one piece, and only if its size is within the limits. It calls a method for
each header line and one after the last. The request line is checked here, because llhttp is more
lenient.
"""

import httptools

from hosting.server.heads import FRAMING_HEADERS, Framing, RequestRefused, check_bounds, read_framing
from web.errors import malformed_request


class HeadParser:
    """Parses heads. After `parse`, the attributes describe that request."""

    __slots__ = (
        "_framing_headers",
        "_llhttp",
        "framing",
        "headers",
        "keeps_alive",
        "method",
        "offers_protocol",
        "url",
        "version",
    )

    def __init__(self) -> None:
        self.url = b""
        self.method = self.version = ""
        self.headers: list[tuple[bytes, bytes]] = []  # Names are in lower case.
        self._framing_headers: list[tuple[bytes, bytes]] = []
        self.framing = Framing(length=0, chunked=False, expects_continue=False)
        self.keeps_alive = True
        self.offers_protocol = False  # Whether the header Upgrade names another protocol.
        self._llhttp: httptools.HttpRequestParser | None = None

    def parse(self, head: bytes) -> None:
        """Parse a whole head, including its final empty line.

        Raises RequestRefused. Nothing more can be parsed then.
        """
        if not 65 <= head[0] <= 90:  # Methods are in capitals.
            raise RequestRefused(malformed_request())
        self.url, self.version = check_bounds(head)
        self.headers = []
        self._framing_headers = []
        llhttp = self._llhttp
        if llhttp is None:
            llhttp = self._llhttp = httptools.HttpRequestParser(self)
        try:
            llhttp.feed_data(head)
            self.offers_protocol = False
        except httptools.HttpParserUpgrade:
            self.offers_protocol = True
        except httptools.HttpParserError:
            raise RequestRefused(malformed_request()) from None
        self.method = llhttp.get_method().decode("ascii")
        self.framing = read_framing(self.version, self._framing_headers)
        if self.offers_protocol or self.framing.chunked:
            self._llhttp = None  # It would wait for a body that it never gets.

    def skip_body(self, part: bytes) -> None:
        """Pass a part of a body with Content-Length to llhttp, which then expects the next head."""
        if self._llhttp is not None:
            self._llhttp.feed_data(part)

    def forget(self) -> None:
        """Forget an answered request, so that an idle connection keeps no memory for it."""
        self.url = b""
        self.headers = []
        self._framing_headers = []

    def close(self) -> None:
        """Break the reference cycle with llhttp."""
        self._llhttp = None

    # Called by llhttp

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in FRAMING_HEADERS:
            self._framing_headers.append((name, value))
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Read the keep-alive flag now. After `feed_data` llhttp has forgotten it."""
        self.keeps_alive = self._llhttp.should_keep_alive()  # type: ignore[union-attr]
