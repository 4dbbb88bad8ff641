"""Orders with instructions, for the tests of order entry."""

from datetime import UTC, datetime, timedelta
from typing import Any

from base.times import time_text
from tests.contract.client import Answer, Client, check_order
from tests.patience import PATIENCE_SECONDS

UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
LIMIT_TYPES = ("limit", "stop_limit", "take_profit_limit")
TYPES = (*LIMIT_TYPES, "market", "stop", "take_profit")
PREVENTIONS = ("none", "cancel_taker", "cancel_maker", "cancel_both", "decrement")

Outcome = tuple[str, str | None, Any, Any]


def outcome(order: Any) -> Outcome:
    """Return status, reason, filled and remaining quantity of an order."""
    return order["status"], order["reason"], order["filled_quantity"], order["remaining_quantity"]


def later(**distance: float) -> str:
    """Return the time that is so far ahead, as `timedelta` says it."""
    return time_text(datetime.now(UTC) + timedelta(**distance))


def place_for_a_moment(client: Client, body: dict[str, Any], *, seconds: float = 0.3) -> Any:
    """Place a gtd order that rests or waits, and expires soon. On a slow machine it lives longer."""
    while True:
        answer = client.post("/orders", body | {"time_in_force": "gtd", "expires_at": later(seconds=seconds)})
        if answer.status == 201 and answer.json["reason"] != "expired":
            return check_order(answer.json)
        assert answer.status in (201, 400), answer.text  # 400 if the time has passed already
        assert seconds < PATIENCE_SECONDS, answer.text
        seconds *= 2


def trade_at(client: Client, instrument: str, price: int) -> None:
    """Make the last trade, between two clients that have nothing else. No other order may meet them."""
    client.place(instrument, "sell", "0.00000001", price, client_id="maker")
    order = client.place(instrument, "buy", "0.00000001", price, client_id="taker")
    assert (order["status"], order["average_price"]) == ("filled", price)


def results(answer: Answer) -> list[Any]:
    """Return the results of a request about several orders, which must be answered with 200."""
    assert answer.status == 200, answer.text
    assert answer.json.keys() == {"results"}
    found: list[Any] = answer.json["results"]
    for result in found:
        if "order" in result:
            check_order(result["order"])
            assert result.keys() <= {"status", "replayed", "order"}
        else:
            assert result.keys() == {"status", "error"}
            assert result["error"]["message"]
    return found


def statuses(answer: Answer) -> list[int]:
    """Return the status of each result."""
    return [result["status"] for result in results(answer)]
