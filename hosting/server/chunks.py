"""Reads chunked bodies (RFC 9112, section 7.1) strictly, and limits all bytes besides content."""

import re

from django.conf import settings

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")


class InvalidChunk(Exception):
    """The bytes are not a valid chunked body."""


class ChunkOverhead(Exception):
    """Sizes, extensions and trailers have too many bytes, or the trailers too many lines."""


class ChunkedBody:
    """Reads one body, in pieces of any size. Trailers are checked and dropped.

    REQUEST_CHUNK_OVERHEAD_BYTES_MAX limits all bytes besides content, and so also the partial line
    kept between two pieces. REQUEST_HEADERS_MAX limits the trailers, because many short lines take
    more time than their bytes suggest.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._left = 0  # Bytes of the current chunk's content that are still to come.
        self._line = b""  # The beginning of an incomplete line.
        self._overhead = 0
        self._in_chunk = self._in_trailers = False
        self._trailers = 0

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the content in the data, and the bytes after the body's end.

        Raises InvalidChunk, ChunkOverhead.
        """
        content: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self.is_complete:
            if self._left:
                piece = data[position : position + self._left]
                content.append(piece)
                position += len(piece)
                self._left -= len(piece)
            else:
                position = self._read_line(data, position)
        return b"".join(content), data[position:]

    def _read_line(self, data: bytes, position: int) -> int:
        """Read to the end of a line, or keep the partial line. Return the position after it."""
        line_end = data.find(b"\n", position) + 1
        behind = line_end or len(data)
        self._overhead += behind - position
        if self._overhead > settings.REQUEST_CHUNK_OVERHEAD_BYTES_MAX:
            raise ChunkOverhead
        self._line += data[position:behind]
        if line_end:
            line, self._line = self._line, b""
            self._apply_line(line)
        elif self._in_chunk and not b"\r\n".startswith(self._line):
            raise InvalidChunk
        return behind

    def _apply_line(self, line: bytes) -> None:
        if self._in_chunk:  # The line ends the chunk's content.
            if line != b"\r\n":
                raise InvalidChunk
            self._in_chunk = False
        elif self._in_trailers:
            if line == b"\r\n":
                self.is_complete = True
            elif not _TRAILER_LINE.fullmatch(line):
                raise InvalidChunk
            self._trailers += 1
            if self._trailers > settings.REQUEST_HEADERS_MAX:
                raise ChunkOverhead
        else:
            size = _SIZE_LINE.fullmatch(line)
            if size is None:
                raise InvalidChunk
            self._left = int(size[1], 16)
            self._in_chunk, self._in_trailers = self._left > 0, self._left == 0
