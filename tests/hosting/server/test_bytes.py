"""Chunked bodies and WebSocket frames that arrive in pieces of every size."""

import pytest

from hosting.server.chunks import ChunkedBody, ChunkOverhead, InvalidChunk
from hosting.server.frames import FrameCounter

BODY = b"5\r\nhello\r\n6;name=value\r\n world\r\n00\r\nTrailer: yes\r\n\r\n"
NEXT = b"GET / HTTP/1.1"


@pytest.mark.parametrize("size", range(1, len(BODY + NEXT) + 1))
def test_a_chunked_body_is_read_in_pieces_of_any_size(size: int) -> None:
    reader = ChunkedBody()
    content, rest = b"", b""
    data = BODY + NEXT
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        if reader.is_complete:
            rest += piece
            continue
        part, behind = reader.read(piece)
        content += part
        rest += behind
    assert (content, rest) == (b"hello world", NEXT)


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b" 1\r\n",
        b"1 2\r\n",
        b"123456789\r\n",
        b"1\n",
        b"1\r\nab",
        b"1\r\na\r\r",
        b"0\r\nno\r\n",
    ],
)
def test_an_invalid_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidChunk):
        ChunkedBody().read(data)


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"1;", b"e"), (b"0\r\n", b"a: " + b"b" * 200 + b"\r\n"), (b"", b"1\r\na\r\n"), (b"", b"1;e\r\na\r\n")],
)
def test_the_overhead_of_chunks_is_bounded(begin: bytes, more: bytes) -> None:
    reader = ChunkedBody()
    reader.read(begin)
    for _ in range(16_000 // len(more)):
        reader.read(more)
    with pytest.raises(ChunkOverhead):
        reader.read(more * 1_000)


def test_the_number_of_trailers_is_bounded() -> None:
    """The bound is that of headers. Even a short line costs some time, so lines are counted too."""
    reader = ChunkedBody()
    reader.read(b"1\r\na\r\n0\r\n")
    reader.read(b"a:b\r\n" * 100)
    with pytest.raises(ChunkOverhead):
        reader.read(b"a:b\r\n")


def frame(payload: int, *, masked: bool = True) -> bytes:
    mask = 0x80 if masked else 0
    if payload < 126:
        head = bytes([0x82, mask | payload])
    elif payload < 65_536:
        head = bytes([0x82, mask | 126]) + payload.to_bytes(2, "big")
    else:
        head = bytes([0x82, mask | 127]) + payload.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + bytes(payload)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000, 100_000])
def test_frames_are_counted_in_pieces(size: int) -> None:
    frames = [frame(0), frame(5), frame(125), frame(126), frame(300, masked=False), frame(70_000)]
    data = b"".join(frames)
    counter = FrameCounter(len(frames))
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        assert counter.allow(piece, now=0.0) == len(piece)
    assert not counter.is_exceeded
    assert counter.allow(frame(1), now=0.5) == 0
    assert counter.is_exceeded


def test_frames_before_the_limit_are_read_and_later_ones_are_not() -> None:
    counter = FrameCounter(3)
    assert counter.allow(frame(10) * 5, now=0.0) == 3 * len(frame(10))
    assert counter.is_exceeded


def test_frames_are_allowed_again_a_second_later() -> None:
    counter = FrameCounter(3)
    for second in range(5):
        assert counter.allow(frame(10) * 3, now=float(second)) == 3 * len(frame(10))


def test_the_application_decides_which_text_messages_count() -> None:
    counter = FrameCounter(3)
    texts = (b"\x81\x80mask" * 100) + frame(10)
    assert counter.allow(texts, now=0.0) == len(texts)
    assert counter.count_message(0.1)
    assert counter.count_message(0.2)
    assert not counter.count_message(0.3)
    assert counter.is_exceeded
    assert counter.allow(texts, now=0.4) == 0
