"""The log has one line for each message, and a bounded pace."""

import io
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from base import logs
from base.logs import LineFormatter, PacedHandler
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO, request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    made = logging.getLogger(f"tests.{request.node.name}")
    made.propagate = False
    handler = PacedHandler(lines_max=3, seconds=60.0, stream=stream)
    handler.setFormatter(LineFormatter("%(levelname)s %(name)s: %(message)s"))
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)
    handler.close()


def test_warnings_of_one_place_have_a_bounded_pace(logger: logging.Logger, stream: io.StringIO) -> None:
    for number in range(815):
        logger.warning("bad request %d", number)
    logger.warning("another place")
    logger.handlers[0].close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert [line.split(": ")[1] for line in lines[:4]] == [
        *(f"bad request {n}" for n in range(3)),
        "another place",
    ]
    assert "bad request 814 … and 811 more like it in the last " in lines[4]


def test_the_pace_counts_calls_of_one_place_whatever_their_text(
    logger: logging.Logger, stream: io.StringIO
) -> None:
    for number in range(100):
        logger.error(f"text {number}")  # noqa: G004 - as libraries do
    assert len(stream.getvalue().splitlines()) == 3


def test_every_info_message_is_logged(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.setLevel(logging.INFO)
    for number in range(100):
        logger.info("halted %d", number)
    assert len(stream.getvalue().splitlines()) == 100


def test_the_count_of_left_out_lines_appears_without_another_message(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: 7.0, time=time.time))
    handler = PacedHandler(lines_max=1, seconds=1.0, stream=stream)
    handler.setFormatter(LineFormatter("%(message)s"))
    logger = logging.getLogger("tests.count")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        assert handler.lock is not None
        with handler.lock:  # The timer waits for the lock, and so for the third line.
            for _ in range(3):
                logger.warning("again")
            timer = handler._timer
        assert timer is not None
        timer.join(PATIENCE_SECONDS)
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue().splitlines() == ["again", "again … and 1 more like it in the last 1 s"]


@pytest.mark.parametrize("code", [ord("\n"), ord("\r"), 0x1B, 0x00, 0x85, 0x2028, 0xD800])
def test_a_message_is_one_line(code: int) -> None:
    record = logging.makeLogRecord({"msg": "got %s", "args": (f"a{chr(code)}b",)})
    written = LineFormatter("%(message)s").format(record)
    assert len(written.splitlines()) == 1
    assert written.isprintable()


def test_a_long_message_is_cut(logger: logging.Logger, stream: io.StringIO) -> None:
    logger.warning("x" * 100_000)
    assert len(stream.getvalue()) < 1_200


def test_the_text_of_an_error_can_not_look_like_a_message(
    logger: logging.Logger, stream: io.StringIO
) -> None:
    """An error's text may contain what a client sent."""
    try:
        raise ValueError(
            "no\n2026-01-01 00:00:00,000 WARNING 1 operators: everything is halted\x1b[2J" + "x" * 9_000
        )
    except ValueError:
        logger.exception("unhandled")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("unhandled")
    assert len(others) > 2
    assert all(line.startswith("    ") and line.isprintable() and len(line) < 1_100 for line in others)


def test_a_refusal_by_django_is_a_warning_without_a_stack_trace(stream: io.StringIO) -> None:
    logger = logging.getLogger("django.security.Tests")
    logger.propagate = False
    handler = PacedHandler(lines_max=3, seconds=60.0, stream=stream)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        raise ValueError
    except ValueError as error:
        logger.error("Invalid. You may need to add 'x' to ALLOWED_HOSTS.", exc_info=error)
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert stream.getvalue() == "WARNING Invalid. You may need to add 'x' to EXCHANGE_ALLOWED_HOSTS.\n"
