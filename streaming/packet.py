"""Messages that follow one another, made once for all clients that hear them.

A packet's frames are the same bytes for every client, and a server that writes them as they are does not copy them:
so a thousand clients that do not read one large book cost the memory of one text.
"""

import struct
from collections.abc import Iterable, Iterator

from django.conf import settings

_FINAL_TEXT_FRAME = 0x81
_SIZE_OF_A_MESSAGE = 60  # bytes that a text takes beside its characters


class Packet:
    """One or more messages; its texts are given up once its frames are made.

    `length` is that of its texts; `size` is what it takes in memory, in bytes. `holders` counts the queues and
    connections that keep it: see streaming.unread.
    """

    __slots__ = ("_frames", "_texts", "holders", "length", "messages", "size")

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._frames: bytes | None = None
        self.messages = len(self._texts)
        self.length = sum(map(len, self._texts))
        self.size = self.length + _SIZE_OF_A_MESSAGE * self.messages
        self.holders = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The messages, for a server that does not take frames. Empty once the frames were made."""
        return self._texts

    @property
    def frames(self) -> bytes:
        """The messages as WebSocket frames of a server without extensions (RFC 6455, section 5.2)."""
        if self._frames is None:
            self._frames = b"".join(_framed(self._texts))
            self._texts = ()
        return self._frames


def packets_of(texts: list[str]) -> Iterator[Packet]:
    """The texts in order, in packets of some STREAM_PACKET_BYTES each: a bounded piece of work to send."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size >= settings.STREAM_PACKET_BYTES:
            yield Packet(some)
            some, size = [], 0
    if some:
        yield Packet(some)


def _framed(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        data = text.encode()
        length = len(data)
        if length < 126:
            yield bytes((_FINAL_TEXT_FRAME, length))
        elif length < 1 << 16:
            yield struct.pack("!BBH", _FINAL_TEXT_FRAME, 126, length)
        else:
            yield struct.pack("!BBQ", _FINAL_TEXT_FRAME, 127, length)
        yield data
