"""`manage.py make_history`: the same past for a seed, which trading continues and the audit accepts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from redis import Redis

from base.database import read_database
from instruments.models import Instrument
from marketdata.candles import CandleSpan, list_candles, list_candles_filled
from marketdata.models import BookSequence, Candle
from marketdata.selectors import read_tickers
from matching.models import Checkpoint, PrunedHistory
from matching.operations.audit import run_audit
from operators.random_past import MILLION, PastMinute, PriceRange, random_past
from orders.messages import Reply
from orders.models import Order
from tests.matching.live import document, live_worker, run_scenario, submit, with_reply_to
from tests.matching.partition import Partition, place, stop

pytestmark = pytest.mark.usefixtures("instruments", "redis")

MINUTE = timedelta(minutes=1)
DAY = [datetime(2026, 3, 2, tzinfo=UTC) + count * MINUTE for count in range(1_440)]
BTC = "BTC-USD:70000.12"
ATTEMPTS_MAX = 10


def make(*options: str) -> str:
    output = StringIO()
    call_command("make_history", *options, stdout=output, stderr=StringIO())
    return output.getvalue()


@pytest.fixture
def matched_once(instruments: object) -> None:
    """A worker has matched the partition before. None runs now."""
    Checkpoint.objects.create(partition=0, lease_expires_at=datetime.now(UTC))


def rows() -> list[dict[str, Any]]:
    names = ("instrument__symbol", "open", "high", "low", "close", "volume", "notional", "trade_count")
    return list(Candle.objects.order_by("instrument", "time").values(*names))


def a_day(seed: str = "1", close_ticks: int = 7_000_000) -> list[PastMinute]:
    allowed = PriceRange(1, 2 * close_ticks)
    return list(random_past(DAY, seed=seed, close_ticks=close_ticks, trade_lots=5_000, allowed=allowed))


def test_the_same_seed_gives_the_same_past_and_another_seed_another() -> None:
    assert a_day() == a_day()
    assert a_day() != a_day(seed="2")


@pytest.mark.parametrize("close_ticks", [7_000_000, 100, 1])
def test_each_minute_continues_the_one_before_and_the_last_ends_at_the_price(close_ticks: int) -> None:
    day = a_day(close_ticks=close_ticks)
    assert day[-1].close_ticks == close_ticks
    assert all(before.close_ticks == after.open_ticks for before, after in pairwise(day))
    for minute in day:
        assert 1 <= minute.low_ticks <= min(minute.open_ticks, minute.close_ticks)
        assert max(minute.open_ticks, minute.close_ticks) <= minute.high_ticks <= 2 * close_ticks
        assert minute.volume_lots > 0 < minute.trade_count
        assert minute.low_ticks <= minute.tick_lots / minute.volume_lots <= minute.high_ticks


def test_nervous_minutes_come_together_and_more_is_traded_in_the_afternoon() -> None:
    alike = afternoon = 0
    for seed in range(8):
        day = a_day(str(seed))
        moves = [abs(minute.close_ticks - minute.open_ticks) for minute in day]
        mean = sum(moves) // len(moves)
        alike += sum((one - mean) * (next_one - mean) for one, next_one in pairwise(moves))
        volumes = [minute.volume_lots for minute in day]
        afternoon += sum(volumes[13 * 60 : 17 * 60]) - sum(volumes[2 * 60 : 6 * 60])
        assert max(moves) < day[0].open_ticks * 30_000 // MILLION
    assert alike > 0 < afternoon


def test_the_command_writes_the_last_whole_minutes_without_a_gap(matched_once: None) -> None:
    before = datetime.now(UTC).replace(second=0, microsecond=0)
    output = make("--hours", "2", "--instruments", BTC, "SOL-USD:150.001")
    assert "BTC-USD: 120 made minutes, the last at 70000.12" in output
    for instrument, close in (("BTC-USD", "70000.12"), ("SOL-USD", "150.001")):
        times = list(
            Candle.objects.filter(instrument__symbol=instrument)
            .order_by("time")
            .values_list("time", flat=True)
        )
        assert [after - before for before, after in pairwise(times)] == [MINUTE] * 119
        assert before - MINUTE <= times[-1] <= datetime.now(UTC) - MINUTE
        assert Candle.objects.get(instrument__symbol=instrument, time=times[-1]).close == Decimal(close)
        assert PrunedHistory.objects.get(instrument__symbol=instrument).time == times[-1]


def test_the_same_seed_and_end_give_the_same_candles(matched_once: None) -> None:
    """Another instrument that gets a past at the same time changes nothing."""

    def make_and_forget(*instruments: str) -> tuple[datetime, list[dict[str, Any]]]:
        """Return the end of BTC-USD's made past and its candles. Nothing is left of any past."""
        make("--hours", "2", "--instruments", *instruments)
        end = PrunedHistory.objects.get(instrument__symbol="BTC-USD").time
        candles = [row for row in rows() if row["instrument__symbol"] == "BTC-USD"]
        for model in (PrunedHistory, Candle, BookSequence):
            model.objects.all().delete()
        return end, candles

    for _ in range(ATTEMPTS_MAX):
        alone, beside = make_and_forget(BTC), make_and_forget("SOL-USD:150", BTC)
        if alone[0] == beside[0]:  # no new minute has begun between them
            break
    assert alone == beside
    assert len(alone[1]) == 120


def test_an_instrument_with_history_is_refused_or_skipped(matched_once: None) -> None:
    make("--hours", "1", "--instruments", BTC)
    before = rows()
    with pytest.raises(CommandError, match="BTC-USD has history already"):
        make("--hours", "1", "--instruments", "ETH-USD:3500", BTC)
    assert rows() == before
    output = make("--hours", "1", "--instruments", "ETH-USD:3500", BTC, "--skip-used")
    assert "BTC-USD: left as it is" in output
    assert len(rows()) == 2 * len(before)


def test_an_instrument_with_an_order_is_refused() -> None:
    Partition().run(place("buy", 100, 1))
    assert Order.objects.count() == 1
    with pytest.raises(CommandError, match="BTC-USD has history already"):
        make("--instruments", BTC)
    assert rows() == []


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("BTC-USD", "a price is required"),
        ("BTC-USD:one", "a price is required"),
        ("XRP-USD:1", "unknown"),
        ("BTC-USD:1.001", "Must be a multiple of 0.01"),
        ("BTC-USD:0", "has prices from 0.01 to 10000000"),
    ],
)
def test_a_wrong_instrument_or_price_is_refused(option: str, problem: str, matched_once: None) -> None:
    with pytest.raises(CommandError, match=problem):
        make("--instruments", option)
    assert rows() == []


def test_without_a_worker_ever_nothing_is_written() -> None:
    with pytest.raises(CommandError, match="no worker has matched partition 0 yet"):
        make("--hours", "1", "--instruments", BTC)
    assert rows() == []
    assert not PrunedHistory.objects.exists()


def states_not_ok() -> dict[str, str]:
    """Return the state of each check of the audit whose state is not `ok`."""
    return {result.name: result.state for result in run_audit() if result.state != "ok"}


def test_trading_continues_the_made_past_and_the_audit_is_clean(redis: Redis) -> None:
    """The worker that runs meanwhile learns the last price, with which it refuses a stop."""

    began = datetime.now(UTC)

    async def scenario() -> tuple[list[Reply], list[dict[str, str]]]:
        async with live_worker() as gateway:
            await read_database(make, "--hours", "1", "--instruments", BTC)
            to = gateway.process_id
            replies = await submit(with_reply_to(to, stop("buy", 6_999_000, 1)))
            audits = [await read_database(states_not_ok)]
            for order in (place("sell", 7_000_100, 5), place("buy", 7_000_100, 3)):
                replies += await submit(with_reply_to(to, order))
            return replies, [*audits, await read_database(states_not_ok)]

    replies, audits = run_scenario(scenario())
    assert [document(reply)["status"] for reply in replies] == ["rejected", "open", "filled"]
    assert audits == [{}, {}]
    btc = Instrument.objects.get(symbol="BTC-USD").pk
    assert len(list_candles(instrument_id=btc, span=CandleSpan(MINUTE, None, None, 100))) == 61
    filled = list_candles_filled(instrument_id=btc, span=CandleSpan(MINUTE, None, None, 61))
    minutes_begun = (datetime.now(UTC) - began) // MINUTE + 1  # since then, at most
    assert [candle.trade_count > 0 for candle in filled].count(False) <= minutes_begun
    day = read_tickers([btc])[btc].statistics
    assert day.last == Decimal(70_001)
    assert day.trade_count == sum(row["trade_count"] for row in rows())
    assert day.volume == sum(row["volume"] for row in rows())
