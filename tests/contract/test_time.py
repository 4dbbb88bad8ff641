"""GET /time: the exchange's clock."""

from datetime import UTC, datetime, timedelta

from base.times import parse_time
from tests.contract.client import TIME, Client

MILLISECOND = timedelta(milliseconds=1)


def test_the_time_is_that_of_the_exchanges_clock(client: Client) -> None:
    before = datetime.now(UTC)
    answer = client.get("/time").json
    after = datetime.now(UTC)
    assert answer.keys() == {"time", "milliseconds"}
    assert TIME.fullmatch(answer["time"])
    assert before - MILLISECOND < parse_time(answer["time"]) <= after


def test_text_and_milliseconds_are_the_same_moment(client: Client) -> None:
    answer = client.get("/time")
    assert answer.number("milliseconds").isdigit()
    since_1970 = parse_time(answer.json["time"]) - datetime(1970, 1, 1, tzinfo=UTC)
    assert answer.json["milliseconds"] * MILLISECOND == since_1970
