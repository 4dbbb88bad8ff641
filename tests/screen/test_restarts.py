"""Redis, the API process and the database are killed under an open screen, and come back.

The screen says that what it shows may be old, and afterwards it shows the exchange's book, orders and
fills again. This file is the last of the folder, because it disturbs the exchange.
"""

from decimal import Decimal
from http.client import HTTPException
from typing import Any

from playwright.sync_api import expect

from tests.contract.client import Answer, Client, order_body
from tests.screen.conftest import OpenScreen
from tests.screen.screen import OUTAGE, Screen
from tests.system.exchange import RunningExchange, frozen, wait_until

# The parts that are killed, and what the connection's state says then.
PARTS = {"valkey-server": "Stale", "uvicorn": "Reconnecting", "bin/postgres": "Stale"}
# Record each state of the connection that is shown, however briefly.
RECORD_STATES = """() => {
  window.states = [];
  const shown = document.querySelector(".connection-words");
  const record = () => window.states.push(shown.textContent);
  new MutationObserver(record).observe(shown, { characterData: true, childList: true, subtree: true });
}"""


def send_until_answered(bot: Client, path: str, document: Any = None) -> Answer:
    """Send a request as a client should: again while the exchange says that it can't be processed.

    That one request was processed does not mean that the next one is: an order that the worker
    committed is found by its key before the worker says again that it matches.
    """
    answers: list[Answer] = []

    def is_answered() -> bool:
        try:
            answers.append(bot.post(path, document))
        except (OSError, HTTPException):  # The API process does not run.
            bot.close()
            return False
        return answers[-1].status not in (503, 504)

    wait_until(is_answered, f"the exchange answers POST {path} again")
    return answers[-1]


def states(screen: Screen) -> Any:
    return screen.page.evaluate("() => window.states")


def kill(exchange: RunningExchange, word: str) -> None:
    exchange.part(word).kill()


def kill_once_stale(exchange: RunningExchange, word: str, screen: Screen) -> None:
    """Freeze a part of the exchange until its silence is noticed, which takes 5 s, and kill it then."""
    with frozen(exchange.part(word)):
        wait_until(lambda: "Stale" in states(screen), "the screen shows that the market data is stale")
        kill(exchange, word)


def survive(screen: Screen, bot: Client, exchange: RunningExchange, name: str, word: str) -> None:
    """Kill a part of the exchange while orders are open. Afterwards the screen must agree with it."""
    page = screen.page
    kept = screen.place("buy", "limit", "1", price="96")
    gone = screen.place("sell", "limit", "1", price="104")
    hit = screen.place("sell", "limit", "2", price="103")
    screen.expect_orders_of(bot, name)
    known = len(bot.get("/orders", client_id=name).json["orders"])
    page.evaluate(RECORD_STATES)
    if PARTS[word] == "Stale":
        kill_once_stale(exchange, word, screen)
    else:
        kill(exchange, word)

    # A click during the outage is one order in the end.
    screen.fill_ticket("buy", "limit", "0.75", price="97")
    page.locator("#send").click()
    trade: dict[str, Any] = {
        "instrument": screen.symbol,
        "side": "buy",
        "quantity": "1.5",
        "price": 103,
        "client_id": "taker",
    }
    order = order_body(**trade, idempotency_key=f"{word} {screen.symbol}")
    assert send_until_answered(bot, "/orders", order).status in (200, 201)
    # 409 answers a repeated cancel, if the first one was processed without an answer.
    assert send_until_answered(bot, f"/orders/{gone['order_id']}/cancel").status in (200, 409)

    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("tr[data-order]")).to_have_count(3)
    wait_until(lambda: PARTS[word] in states(screen), f"the screen has shown {PARTS[word]}")
    screen.expect_live()
    orders = screen.expect_orders_of(bot, name)
    assert {kept["order_id"], hit["order_id"]} < orders.keys()
    assert orders[hit["order_id"]][-2:] == (Decimal("1.5"), "Partly filled")
    assert len(bot.get("/orders", client_id=name).json["orders"]) == known + 1
    screen.expect_book_of(bot)
    page.keyboard.press("Shift+Escape")
    expect(page.locator("tr[data-order]")).to_have_count(0)


def test_the_screen_survives_restarts(
    open_screen: OpenScreen, bot: Client, exchange: RunningExchange, symbol: str, name: str
) -> None:
    """The same page lives through all outages."""
    screen = open_screen().open()
    screen.allow(OUTAGE)
    for word in PARTS:
        survive(screen, bot, exchange, name, word)
    # The screen asks for the fills that it may have missed, and the answer takes a while.
    wait_until(
        lambda: [row[4] for row in screen.rows("fills")] == ["1.5"] * len(PARTS), "all fills are shown"
    )
    ends = ["Cancelled: by you"] * 4 * len(PARTS)
    wait_until(lambda: [row[-1] for row in screen.rows("history")] == ends, "all orders have ended")
    assert screen.diagnostics()["checksumMismatches"] == 0
