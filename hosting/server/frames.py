"""Counts WebSocket frames before they are parsed (RFC 6455, section 5.2)."""

from collections import deque

_OPCODE = 0x0F  # the bits of a frame's first byte that say what the frame is
_TEXT = 0x1


class FrameCounter:
    """Limits a connection to `frames_max` new frames in a second, besides text messages.

    Pings, pongs, closes, binary messages and continuations count. The application decides which
    text messages count, with `count_message`, because orders have a limit of their own. Only frame
    heads are read.
    """

    def __init__(self, frames_max: int) -> None:
        self.is_exceeded = False
        self._begun_at: deque[float] = deque(maxlen=frames_max)
        self._head = b""  # The beginning of an incomplete frame head.
        self._left = 0  # Bytes of the current frame after its head that are still to come.

    def allow(self, data: bytes, now: float) -> int:
        """Return how many of the bytes belong to allowed frames.

        `now` is in seconds, and never goes back.
        """
        position, end = 0, len(data)
        while position < end and not self.is_exceeded:
            if self._left:
                step = min(self._left, end - position)
                self._left -= step
                position += step
                continue
            if not self._head and not self._allow_frame(data[position], now):
                return position
            missing = _head_bytes(self._head + data[position : position + 2]) - len(self._head)
            self._head += data[position : position + missing]
            position += min(missing, end - position)
            if len(self._head) >= 2 and len(self._head) == _head_bytes(self._head):
                self._left = _payload_bytes(self._head)
                self._head = b""
        return position

    def _allow_frame(self, first_byte: int, now: float) -> bool:
        return first_byte & _OPCODE == _TEXT or self.count_message(now)

    def count_message(self, now: float) -> bool:
        """Count a frame or a message. Returns False if there are too many."""
        recent = self._begun_at
        if len(recent) == recent.maxlen and now - recent[0] < 1.0:
            self.is_exceeded = True
            return False
        recent.append(now)
        return True


def _head_bytes(head: bytes) -> int:
    """Return the length of a frame head that begins like this. 2 if it is not known yet."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _payload_bytes(head: bytes) -> int:
    length = head[1] & 0x7F
    if length == 126:
        return int.from_bytes(head[2:4], "big")
    return int.from_bytes(head[2:10], "big") if length == 127 else length
