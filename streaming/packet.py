"""Packets: consecutive messages, encoded once for all clients that get them.

A packet's frames are the same bytes for all clients, and the server writes them without a copy. So
a large snapshot that a thousand clients have not read yet is in memory once.
"""

import struct
from collections.abc import Iterable, Iterator

from django.conf import settings

_FINAL_TEXT_FRAME = 0x81
_SIZE_OF_A_MESSAGE = 60  # bytes that a text takes in addition to its characters


class Packet:
    """One or more messages. The texts are dropped once the frames are made.

    `length` is the length of the texts in characters, and `size` is the packet's memory in bytes.
    `holders` counts the queues and connections that hold the packet: see streaming/unread.py.
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
        """The messages, for a server that does not accept packets.

        Empty once the frames are made.
        """
        return self._texts

    @property
    def frames(self) -> bytes:
        """The messages as a server's WebSocket frames without extensions (RFC 6455, 5.2)."""
        if self._frames is None:
            self._frames = b"".join(_encode_frames(self._texts))
            self._texts = ()
        return self._frames


def packets_of(texts: list[str]) -> Iterator[Packet]:
    """Yield the texts in packets of about STREAM_PACKET_BYTES, to bound the work of sending one."""
    gathered: list[str] = []
    size = 0
    for text in texts:
        gathered.append(text)
        size += len(text)
        if size >= settings.STREAM_PACKET_BYTES:
            yield Packet(gathered)
            gathered, size = [], 0
    if gathered:
        yield Packet(gathered)


def _encode_frames(texts: Iterable[str]) -> Iterator[bytes]:
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
