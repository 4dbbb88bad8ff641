"""The parser of requests' heads: llhttp, for the requests of one connection, one after the other.

llhttp gets each head in one piece, and only if its size is within the bounds. It calls back for header lines and at
their end. The request line is read here, because llhttp is more lenient.
"""

import httptools

from hosting.server.heads import FRAMING_HEADERS, Framing, Refused, check_bounds, read_framing
from web.errors import malformed_request


class HeadParser:
    """After `parse`, the attributes are those of that request."""

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
        self.headers: list[tuple[bytes, bytes]] = []  # names in lower case
        self._framing_headers: list[tuple[bytes, bytes]] = []
        self.framing = Framing(length=0, chunked=False, expects_continue=False)
        self.keeps_alive = True
        self.offers_protocol = False  # another one than HTTP/1.1, with the header Upgrade
        self._llhttp: httptools.HttpRequestParser | None = None

    def parse(self, head: bytes) -> None:
        """A whole head with the empty line that ends it. Raises Refused; then nothing more can be parsed."""
        if not 65 <= head[0] <= 90:  # methods are in capitals
            raise Refused(malformed_request())
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
            raise Refused(malformed_request()) from None
        self.method = llhttp.get_method().decode("ascii")
        self.framing = read_framing(self.version, self._framing_headers)
        if self.offers_protocol or self.framing.chunked:
            self._llhttp = None  # it waits for what does not come to it

    def skip_body(self, part: bytes) -> None:
        """Behind the body of a Content-Length, llhttp expects the next head."""
        if self._llhttp is not None:
            self._llhttp.feed_data(part)

    def forget(self) -> None:
        """The request is answered: an idle connection keeps nothing of it."""
        self.url = b""
        self.headers = []
        self._framing_headers = []

    def close(self) -> None:
        """It and llhttp refer to each other."""
        self._llhttp = None

    # llhttp's word

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in FRAMING_HEADERS:
            self._framing_headers.append((name, value))
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Once `feed_data` has returned, llhttp has forgotten this."""
        self.keeps_alive = self._llhttp.should_keep_alive()  # type: ignore[union-attr]
