"""The keyboard alone is enough to trade."""

from decimal import Decimal

from playwright.sync_api import Locator, Page, expect

from tests.contract.client import Client
from tests.contract.market import Market
from tests.contract.stream import make_trade
from tests.screen.conftest import OpenScreen
from tests.system.exchange import wait_until

TABS_MAX = 60
COUNT_POINTERS = """for (const name of ["pointerdown", "pointermove", "mousedown", "mousemove", "touchstart"])
  addEventListener(name, () => { window.pointers = (window.pointers ?? 0) + 1; }, true)"""


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the element has the focus."""
    expect(target).to_have_count(1)
    for _ in range(TABS_MAX):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} can't be reached with Tab")


def fill_by_keys(page: Page, key: str, field: str, text: str) -> None:
    """Go to a field of the ticket with its shortcut, and replace its text."""
    page.keyboard.press(key)
    expect(page.locator(f'[data-field="{field}"]')).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def test_the_keyboard_is_enough_to_trade(
    open_screen: OpenScreen, bot: Client, market: Market, symbol: str, name: str
) -> None:
    other = market.fresh_instrument()
    make_trade(bot, other, 50)
    screen = open_screen(client="")
    page = screen.page
    page.add_init_script(COUNT_POINTERS)
    screen.open()
    keys = page.keyboard

    # Without a name, the first order asks for one.
    fill_by_keys(page, "s", "quantity", "0.5")
    keys.press("Escape")
    fill_by_keys(page, "p", "price", "104.5")
    keys.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Name")).to_be_focused()
    keys.type(name)
    keys.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator('[data-field="price"]')).to_be_focused()
    keys.press("Enter")
    expect(page.locator("tr[data-order]")).to_have_count(1)
    (order_id,) = screen.expect_orders_of(bot, name)
    assert bot.order(order_id)["price"] == Decimal("104.5")

    # Amend it in its row, then on the chart.
    keys.press("Escape")
    keys.press("o")
    expect(page.locator("#panels-tab-open")).to_be_focused()
    row = page.locator(f'tr[data-order="{order_id}"]')
    tab_to(page, row.get_by_role("button", name="Change"))
    keys.press("Enter")
    expect(row.get_by_label("Price")).to_be_focused()
    keys.press("Control+A")
    keys.type("104.25")
    keys.press("Enter")
    expect(row.get_by_role("button", name="Change")).to_be_focused()
    assert bot.order(order_id)["price"] == Decimal("104.25")
    expect(screen.line(order_id).locator(".order-line-price")).to_have_text("104.25")
    tab_to(page, screen.line(order_id).get_by_role("slider"))
    for key in ("Shift+ArrowDown", "ArrowDown", "Enter"):
        keys.press(key)
    wait_until(lambda: bot.order(order_id)["price"] == Decimal("103.24"), "the line was moved by 101 ticks")
    screen.expect_orders_of(bot, name)

    # Cancel it in its row.
    tab_to(page, row.get_by_role("button", name="Cancel"))
    keys.press("Enter")
    expect(row).to_have_count(0)
    assert bot.order(order_id)["status"] == "cancelled"

    # A price of the ladder.
    keys.press("l")
    expect(page.locator("#ladder")).to_be_focused()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        keys.press(key)
    expect(page.locator('[data-field="price"]')).to_have_value("92.75")
    fill_by_keys(page, "b", "quantity", "2")
    keys.press("Enter")
    expect(page.locator("tr[data-order]")).to_have_count(1)

    # Another instrument.
    keys.press("Escape")
    keys.press("/")
    keys.type(other)
    keys.press("Enter")
    screen.symbol = other
    screen.expect_live()
    keys.press("Escape")
    fill_by_keys(page, "b", "quantity", "3")
    keys.press("Escape")
    fill_by_keys(page, "p", "price", "49")
    keys.press("Enter")
    expect(page.locator("tr[data-order]")).to_have_count(2)
    resting = screen.expect_orders_of(bot, name)
    assert {order[0] for order in resting.values()} == {symbol, other}

    # The panic key works in a field, too, and cancels in all instruments.
    expect(page.locator('[data-field="price"]')).to_be_focused()
    keys.press("Shift+Escape")
    expect(page.locator("tr[data-order]")).to_have_count(0)
    assert {bot.order(order_id)["status"] for order_id in resting} == {"cancelled"}

    keys.press("Escape")
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("window.pointers ?? 0") == 0
