"""Tabs, users, bots and the exchange agree, order by order, also after lost messages and connections."""

import random
from decimal import Decimal
from typing import Any

from playwright.sync_api import WebSocketRoute, expect

from tests.contract.client import Client
from tests.screen.conftest import OpenScreen
from tests.screen.screen import Screen
from tests.system.exchange import wait_until

STEPS = 20
CHANGES = 5  # between two comparisons


def trade_at_random(bot: Client, symbol: str, name: str, chance: random.Random) -> None:
    """Place, amend or cancel an order of one of the two clients, as any client of the API may."""
    client_id = chance.choice([name, f"{name}-other"])
    resting = bot.get("/orders", client_id=client_id, status="resting").json["orders"]
    price, quantity = f"{chance.randrange(9_800, 10_200) / 100:.2f}", f"{chance.randrange(1, 30) / 10:.1f}"
    action = chance.random()
    if resting and action < 0.2:
        bot.cancel(chance.choice(resting)["order_id"])
    elif resting and action < 0.35:
        order_id = chance.choice(resting)["order_id"]
        assert bot.post(f"/orders/{order_id}/amend", {"price": price}).status == 200
    else:
        bot.place(
            symbol,
            chance.choice(["buy", "sell"]),
            quantity,
            price if action < 0.9 else None,
            client_id=client_id,
        )


def check_fills(screen: Screen, bot: Client, name: str) -> None:
    """Fail unless the screen shows the client's fills, all of them and no others."""
    fills = bot.get("/fills", client_id=name).json["fills"]
    expected = [[fill["side"].capitalize(), fill["price"], fill["quantity"]] for fill in fills]
    seen: list[Any] = []

    def is_same() -> bool:
        rows = screen.rows("fills")
        seen[:] = [[row[2], *(Decimal(cell.replace(",", "")) for cell in row[3:5])] for row in rows]
        return seen == expected

    wait_until(is_same, "the screen shows the exchange's fills")
    screen.panel("open")


def test_tabs_users_and_bots_see_the_same(
    open_screen: OpenScreen, bot: Client, symbol: str, name: str
) -> None:
    screen = open_screen().open()
    tab = open_screen(context=screen.context).open()
    other = open_screen(client=f"{name}-other").open()
    placed = screen.place("buy", "limit", "2", price="99")
    expect(tab.line(placed["order_id"])).to_be_visible()
    expect(other.page.locator(".ladder .own")).to_have_count(0)
    sold = other.place("sell", "limit", "0.5", price="99")
    assert sold["status"] == "filled"
    expect(tab.page.locator(f'tr[data-order="{placed["order_id"]}"]')).to_contain_text("Partly filled")

    chance = random.Random(22)
    for step in range(1, STEPS + 1):
        trade_at_random(bot, symbol, name, chance)
        if step % CHANGES == 0:
            books = [each.expect_book_of(bot) for each in (screen, tab, other)]
            assert books[0] == books[1] == books[2]
            assert screen.expect_orders_of(bot, name) == tab.expect_orders_of(bot, name)
            other.expect_orders_of(bot, f"{name}-other")
    for each, owner in ((screen, name), (tab, name), (other, f"{name}-other")):
        check_fills(each, bot, owner)
        counts = each.diagnostics()
        assert (counts["gaps"], counts["checksumMismatches"], counts["connectionsLost"]) == (0, 0, 0)
        assert counts["messagesUnreadable"] == counts["subscriptionsRefused"] == 0
        assert counts["checksumsVerified"] > 1


def test_a_gap_and_a_lost_connection_end_with_the_right_book(
    open_screen: OpenScreen, bot: Client, symbol: str, name: str
) -> None:
    screen = open_screen()
    sockets: list[WebSocketRoute] = []
    dropped: list[str] = []
    is_dropping = False

    def relay(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        sockets.append(socket)

        def pass_on(message: str | bytes) -> None:
            text = str(message)
            if is_dropping and not dropped and '"orderbook_delta"' in text:
                dropped.append(text)
            else:
                socket.send(message)

        server.on_message(pass_on)

    screen.page.route_web_socket("**/stream", relay)
    screen.open()
    orders = [bot.place(symbol, "buy", 1, price, client_id=name) for price in (96, 97)]
    screen.expect_orders_of(bot, name)
    screen.expect_book_of(bot)

    is_dropping = True
    bot.cancel(orders[0]["order_id"])
    screen.expect_orders_of(bot, name)
    # The delta leaves after the update of the order. Only a call of the page lets the relay run.
    wait_until(lambda: screen.diagnostics() and dropped, "a delta was dropped")
    bot.place(symbol, "buy", 1, 98, client_id="maker")
    screen.expect_book_of(bot)
    wait_until(lambda: screen.diagnostics()["gaps"] == 1, "the gap is counted")

    sockets[-1].close(code=1012)
    bot.cancel(orders[1]["order_id"])
    bot.place(symbol, "sell", 1, 98, client_id=name)  # trades
    bot.place(symbol, "sell", "1.5", 99, client_id=name)
    wait_until(lambda: screen.diagnostics()["connectionsLost"] == 1, "the screen has noticed the loss")
    screen.expect_live()
    screen.expect_book_of(bot)
    screen.expect_orders_of(bot, name)
    check_fills(screen, bot, name)
    assert len(sockets) == 2
    assert screen.diagnostics()["checksumMismatches"] == 0
