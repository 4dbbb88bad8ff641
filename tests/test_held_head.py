"""Answers leave in one packet, and what has no body is not kept."""

import asyncio
from typing import Any, cast

from exchange_site.uvicorn_server import CONTINUE, HeldHead

HEAD = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """What a transport is asked to do."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def held() -> tuple[HeldHead, Wire]:
    wire = Wire()
    return HeldHead(cast("asyncio.Transport", wire)), wire


def test_a_head_waits_for_its_body() -> None:
    transport, wire = held()
    transport.write(HEAD)
    assert wire.written == []
    transport.write(b"{}")
    transport.write(b"more")
    transport.release()
    assert wire.written == [HEAD + b"{}", b"more"]


def test_a_head_without_a_body_leaves_with_the_end_of_the_response() -> None:
    transport, wire = held()
    transport.write(HEAD)
    transport.release()
    transport.release()
    assert wire.written == [HEAD]


def test_a_client_that_waits_for_the_word_to_go_on_hears_it_at_once() -> None:
    transport, wire = held()
    transport.write(CONTINUE)
    assert wire.written == [CONTINUE]


def test_closing_keeps_nothing_back() -> None:
    transport, wire = held()
    transport.write(HEAD)
    transport.close()
    assert (wire.written, wire.closed, transport.is_closing()) == ([HEAD], True, True)


def test_a_body_like_a_head_is_sent_in_the_end() -> None:
    transport, wire = held()
    answer: Any = HEAD
    transport.write(answer)
    transport.write(answer)
    transport.release()
    assert b"".join(wire.written) == HEAD + HEAD
