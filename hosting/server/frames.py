"""Counts WebSocket frames before anything is made of them (RFC 6455, section 5.2)."""

from collections import deque


class FrameCounter:
    """Of one connection's bytes, how many may be read on: at most `frames_max` frames begin within a second.

    Every frame counts: messages, their further pieces, pings, pongs and closes. Only heads of frames are looked at.
    """

    def __init__(self, frames_max: int) -> None:
        self.is_exceeded = False
        self._begun_at: deque[float] = deque(maxlen=frames_max)
        self._head = b""  # the beginning of a frame's head that has not come whole
        self._left = 0  # bytes of the current frame, behind its head

    def allow(self, data: bytes, now: float) -> int:
        """How many of the bytes belong to frames that are allowed. `now` is in seconds, and never goes back."""
        position, end = 0, len(data)
        while position < end and not self.is_exceeded:
            if self._left:
                step = min(self._left, end - position)
                self._left -= step
                position += step
                continue
            if not self._head and not self._count(now):
                return position
            missing = _head_bytes(self._head + data[position : position + 2]) - len(self._head)
            self._head += data[position : position + missing]
            position += min(missing, end - position)
            if len(self._head) >= 2 and len(self._head) == _head_bytes(self._head):
                self._left = _payload_bytes(self._head)
                self._head = b""
        return position

    def _count(self, now: float) -> bool:
        recent = self._begun_at
        if len(recent) == recent.maxlen and now - recent[0] < 1.0:
            self.is_exceeded = True
            return False
        recent.append(now)
        return True


def _head_bytes(head: bytes) -> int:
    """The length of a head that begins so; 2 if that can't be told yet."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _payload_bytes(head: bytes) -> int:
    length = head[1] & 0x7F
    if length == 126:
        return int.from_bytes(head[2:4], "big")
    return int.from_bytes(head[2:10], "big") if length == 127 else length
