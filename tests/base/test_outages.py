"""The log lines of an outage: one at once, few while it lasts, and one when it is over."""

import logging

import pytest
from django.conf import settings

from base.outages import Outage

logger = logging.getLogger(__name__)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(logger, "Redis", clock)


def test_many_failed_attempts_lead_to_few_lines(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage.ended()  # without an outage, this logs nothing
    for attempt in range(700):
        outage.failed(ConnectionError(f"refused\nin two lines, {attempt}"))
        clock.now += 0.125
    outage.ended()
    outage.ended()
    assert caplog.messages == [
        "Redis: ConnectionError: refused in two lines, 0",
        "Redis: still away after 30 s and 241 attempts: ConnectionError: refused in two lines, 240",
        "Redis: still away after 60 s and 481 attempts: ConnectionError: refused in two lines, 480",
        "Redis: back after 87.5 s and 700 failed attempts",
    ]


def test_start_and_end_of_each_outage_are_logged_at_once(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("first", "second"):
        outage.failed(text)
        clock.now += 1
        outage.ended()
    assert [message.split(" after")[0] for message in caplog.messages] == [
        "Redis: first",
        "Redis: back",
        "Redis: second",
        "Redis: back",
    ]


def test_frequent_short_outages_do_not_fill_the_log(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = 10 * settings.OUTAGE_LOG_SECONDS
    outages = 0
    while clock.now < 1_000 + seconds:
        outage.failed("refused")
        clock.now += 0.1
        outage.ended()
        outages += 1
    lines = caplog.messages
    assert len(lines) <= 10 * 2 * settings.OUTAGES_LOGGED_MAX + 2
    left_out = sum(int(line.split("(")[1].split()[0]) for line in lines if "(" in line)
    logged = sum("back after" in line for line in lines)
    assert outages - settings.OUTAGE_LOG_SECONDS * 10 <= left_out + logged <= outages


def test_an_outage_that_was_left_out_is_logged_if_it_lasts(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(settings.OUTAGES_LOGGED_MAX):
        outage.failed("short")
        outage.ended()
    caplog.clear()
    for _ in range(100):
        outage.failed("long")
        clock.now += 1
    outage.ended()
    assert "still away after" in caplog.messages[0]
    assert "back after 100.0 s" in caplog.messages[-1]


def test_an_outage_with_several_names_ends_when_all_have_ended(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    outage.failed("not answering", name="BTC-USD")
    outage.failed("not answering", name="ETH-USD")
    outage.ended("BTC-USD")
    outage.ended("BTC-USD")
    outage.ended("SOL-USD")
    assert caplog.messages == ["Redis: not answering"]
    outage.ended("ETH-USD")
    assert len(caplog.messages) == 2


def test_a_defect_shows_its_stack_trace_once(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        outage.failed(ValueError("a defect"), traceback=True)
    assert [bool(record.exc_info) for record in caplog.records] == [True]


def test_a_name_that_gave_up_logs_no_end(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.failed("not answering", name="BTC-USD")
    outage.give_up("BTC-USD")
    outage.ended("BTC-USD")
    assert caplog.messages == ["Redis: not answering"]
