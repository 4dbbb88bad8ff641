"""Orders of each type through the ticket, on the chart and in the panels, against the REST API.

What a click does is done once, however the network behaves.
"""

import json
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from tests.contract.client import Client
from tests.contract.market import Market
from tests.screen.conftest import OpenScreen
from tests.screen.screen import LOST, REFUSED, Screen, number, optional_number
from tests.system.exchange import wait_until

TICK = Decimal("0.01")


class Kept(NamedTuple):
    """An order that rests or waits. `moves` are the fields whose lines can be dragged."""

    side: str
    kind: str
    instructions: dict[str, Any]
    moves: tuple[str, ...]


KEPT = (
    Kept("sell", "limit", {"price": "104.25", "post_only": True}, ("price",)),
    Kept("buy", "limit", {"price": "97", "time_in_force": "gtd", "expires": "1 day"}, ("price",)),
    Kept("sell", "stop", {"trigger": "96"}, ("trigger_price",)),
    Kept("buy", "stop_limit", {"trigger": "102", "price": "107"}, ("trigger_price", "price")),
    Kept("buy", "take_profit", {"trigger": "96"}, ("trigger_price",)),
    Kept("sell", "take_profit_limit", {"trigger": "103", "price": "98"}, ("trigger_price", "price")),
)


def terms(order: Any) -> tuple[Any, ...]:
    return tuple(
        order[name]
        for name in ("instrument", "client_id", "side", "type", "price", "trigger_price", "quantity")
    )


def test_orders_that_rest_or_wait_are_dragged_and_cancelled(
    open_screen: OpenScreen, bot: Client, symbol: str, name: str
) -> None:
    screen = open_screen().open()
    for order in KEPT:
        instructions = order.instructions
        placed = screen.place(order.side, order.kind, "0.25", **instructions)
        price, trigger = (
            Decimal(instructions[key]) if key in instructions else None for key in ("price", "trigger")
        )
        assert terms(placed) == (symbol, name, order.side, order.kind, price, trigger, Decimal("0.25"))
        assert placed["post_only"] is instructions.get("post_only", False)
        if "time_in_force" in instructions:
            assert (placed["time_in_force"], placed["expires_at"] is None) == ("gtd", False)
        assert placed["order_id"] in screen.expect_orders_of(bot, name)

        for move in order.moves:
            before = bot.order(placed["order_id"])
            wanted = screen.drag(placed["order_id"], move, -12)
            assert wanted > before[move]
            assert wanted % TICK == 0
            moved = terms({**before, move: wanted})
            wait_until(lambda: terms(bot.order(placed["order_id"])) == moved, "it is moved")  # noqa: B023
            expect(screen.page.locator(".activity-sent, .order-line.busy")).to_have_count(0)
            screen.expect_orders_of(bot, name)

        row = screen.page.locator(f'tr[data-order="{placed["order_id"]}"]')
        row.get_by_role("button", name="Cancel").click()
        expect(row).to_have_count(0)
        assert bot.order(placed["order_id"])["reason"] == "client_request"
    change_in_the_row_and_cancel_on_the_chart(screen, bot)
    ends = ["Cancelled: by you"] * (len(KEPT) + 1)
    wait_until(lambda: [row[-1] for row in screen.rows("history")] == ends, "all orders have ended")
    screen.expect_book_of(bot)


def change_in_the_row_and_cancel_on_the_chart(screen: Screen, bot: Client) -> None:
    page = screen.page
    order_id = screen.place("buy", "limit", "1.5", price="97.01")["order_id"]
    row = page.locator(f'tr[data-order="{order_id}"]')
    row.get_by_role("button", name="Change").click()
    row.get_by_label("Price").fill("97.02")
    row.get_by_label("Quantity").fill("1.25")
    row.get_by_role("button", name="Amend").click()
    expect(row.locator("input")).to_have_count(0)
    after = bot.order(order_id)
    assert (after["price"], after["quantity"]) == (Decimal("97.02"), Decimal("1.25"))
    expect(page.locator("#ladder .own .ladder-price")).to_have_text(["97.02"])
    line = screen.line(order_id)
    line.get_by_role("button", name="Cancel").click()
    line.get_by_role("button", name="Cancel order").click()
    expect(line).to_have_count(0)
    assert bot.order(order_id)["status"] == "cancelled"


def test_orders_that_fill_move_fills_and_position(
    open_screen: OpenScreen, bot: Client, symbol: str, name: str
) -> None:
    """The asks are 0.5 at 105, 2 at 106 and 3.125 at 107.25."""
    screen = open_screen().open()
    bought = screen.place("buy", "market", "1.5")
    assert [(fill["price"], fill["quantity"]) for fill in bought["trades"]] == [
        (105, Decimal("0.5")),
        (106, 1),
    ]
    part = screen.place("buy", "limit", "1.125", price="106", time_in_force="ioc")
    assert (part["status"], part["reason"], part["filled_quantity"]) == ("cancelled", "unfilled_ioc", 1)
    none = screen.place("buy", "limit", "9", price="107.25", time_in_force="fok")
    assert (none["reason"], none["filled_quantity"]) == ("unfilled_fok", 0)
    whole = screen.place("sell", "market", "0.5", time_in_force="fok")
    assert (whole["status"], whole["average_price"]) == ("filled", 95)
    crossing = screen.place("buy", "limit", "1", price="107.25", post_only=True)
    assert (crossing["status"], crossing["reason"]) == ("rejected", "would_cross")
    expect(screen.page.locator(".send .problem")).to_contain_text("it would have traded")

    fills = [
        [fill["side"].capitalize(), fill["price"], fill["quantity"], fill["price"] * fill["quantity"]]
        for fill in bot.get("/fills", client_id=name).json["fills"]
    ]
    assert len(fills) == 4
    wait_until(
        lambda: [[row[2], *map(number, row[3:6])] for row in screen.rows("fills")] == fills,
        "the screen shows the exchange's fills",
    )

    # 0.5 x 105 + 1 x 106 + 1 x 106 = 264.5 for 2.5, of which 0.5 were sold at 95.
    screen.panel("positions")
    position = screen.page.locator("#panels-panel tbody tr")
    expect(position.locator('[data-name="Last"]')).to_have_text("95.00")
    expected = {
        "Position": 2,
        "Average": Decimal("105.80"),
        "Realized": Decimal("-5.40"),
        "Unrealized": Decimal("-21.60"),
        "Profit": -27,
    }

    def figures() -> dict[str, Decimal | None]:
        texts = {name: position.locator(f'[data-name="{name}"]').inner_text() for name in expected}
        return {name: optional_number(text.split()[0]) for name, text in texts.items()}

    wait_until(lambda: figures() == expected, f"the position has {expected}")
    titles = screen.panel("activity").locator(".activity-item")
    expect(titles).to_have_count(5)
    expect(titles.last).to_contain_text("filled")
    screen.expect_book_of(bot)


def test_a_click_is_one_order_however_the_network_behaves(
    open_screen: OpenScreen, bot: Client, symbol: str, name: str
) -> None:
    """The stream does not help: it withholds the person's orders, so the key alone finds them."""
    screen = open_screen()
    screen.allow(LOST)
    page = screen.page
    page.route_web_socket("**/stream", withhold_orders)
    screen.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))

    def count(method: str, part: str) -> int:
        return sum(each.startswith(method) and part in each for each in asked)

    # A double click, and then another order, after which the second click would have been answered.
    screen.fill_ticket("buy", "limit", "1", price="96")
    page.locator("#send").dblclick()
    expect(page.locator(".order-line")).to_have_count(1)
    screen.place("buy", "limit", "2", price="96")
    assert count("POST", "/orders") == 2
    assert len(orders_of(bot, name)) == 2

    # The exchange's answer is lost.
    keys: list[str] = []

    def lose_answer(route: Route) -> None:
        keys.append(json.loads(route.request.post_data or "")["idempotency_key"])
        route.fetch()
        route.abort()

    page.route("**/orders", lose_answer, times=1)
    screen.fill_ticket("buy", "limit", "3", price="96")
    page.locator("#send").click()
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator(".order-line")).to_have_count(3)
    assert count("GET", f"idempotency_key={keys[0]}") >= 1
    newest, *others = orders_of(bot, name)
    assert (newest["idempotency_key"], newest["quantity"], len(others)) == (keys[0], 3, 2)

    # The request is lost on its way to the exchange.
    page.route("**/orders", lambda route: route.abort(), times=1)
    screen.fill_ticket("buy", "limit", "4", price="96")
    page.locator("#send").click()
    expect(page.locator(".order-line")).to_have_count(4)
    assert [order["quantity"] for order in orders_of(bot, name)] == [4, 3, 2, 1]
    ways = screen.panel("activity").locator(".activity-item")
    expect(ways).to_have_class(["activity-item activity-accepted"] * 4)


def orders_of(bot: Client, name: str) -> list[Any]:
    orders: list[Any] = bot.get("/orders", client_id=name).json["orders"]
    return orders


def withhold_orders(socket: WebSocketRoute) -> None:
    """Connect a page to the stream, but keep updates of orders from it."""
    server = socket.connect_to_server()
    server.on_message(lambda text: None if '"order_update"' in str(text)[:200] else socket.send(text))


@pytest.fixture
def refusing_screen(open_screen: OpenScreen, market: Market, symbol: str) -> Screen:
    """A screen that does not know that the exchange has become stricter."""
    screen = open_screen()
    screen.allow(REFUSED)
    instruments: list[str] = []

    def answer_as_before(route: Route) -> None:
        instruments.append(instruments[0] if instruments else route.fetch().text())
        route.fulfill(body=instruments[0], content_type="application/json")

    screen.page.route("**/instruments", answer_as_before)
    screen.open()
    market.set_bounds(symbol, max_quantity=Decimal(2))
    return screen


def test_errors_are_shown_at_their_fields(refusing_screen: Screen, bot: Client, name: str) -> None:
    screen = refusing_screen
    quantity, price = (screen.page.locator(f'[data-field="{field}"]') for field in ("quantity", "price"))
    error = screen.page.locator(".field-error")
    # The screen's own check: nothing is sent.
    screen.fill_ticket("buy", "limit", "1.5", price="96.005")
    screen.page.locator("#send").click()
    expect(price).to_have_attribute("aria-invalid", "true")
    expect(price).to_be_focused()
    expect(error).to_have_text("Must be a multiple of 0.01.")
    # The exchange's check.
    price.fill("96")
    quantity.fill("3")
    refusal = screen.send(400)["error"]
    expect(quantity).to_have_attribute("aria-invalid", "true")
    expect(error).to_have_text(refusal["fields"]["quantity"][0])
    expect(screen.page.locator(".send .problem")).to_be_visible()
    assert orders_of(bot, name) == []
    quantity.fill("2")
    expect(error).to_have_count(0)
    screen.send()
    screen.expect_orders_of(bot, name)
