"""How the page fits, and what it shows of a halt."""

from playwright.sync_api import expect

from tests.contract.client import Client
from tests.contract.market import Market
from tests.screen.conftest import OpenScreen

WIDTH_NARROW = 360
HIDDEN_WIDTH = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_a_halt_is_shown_and_ends(
    open_screen: OpenScreen, bot: Client, market: Market, symbol: str, name: str
) -> None:
    screen = open_screen().open()
    page, send = screen.page, screen.page.locator("#send")
    placed = screen.place("buy", "limit", "1", price="96")
    market.change_status(symbol, "halted")
    expect(send).to_be_disabled()
    expect(send).to_have_text("Trading is halted")
    expect(page.locator(".instrument-button")).to_contain_text("Halted")
    expect(page.locator(".market-state")).to_have_text("Trading is halted. Orders can be cancelled.")
    row = page.locator(f'tr[data-order="{placed["order_id"]}"]')
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(0)
    assert bot.order(placed["order_id"])["status"] == "cancelled"
    market.change_status(symbol, "active")
    expect(send).to_be_enabled()
    expect(page.locator(".market-state")).to_have_text("")
    screen.send()
    screen.expect_orders_of(bot, name)


def test_a_narrow_page_has_no_horizontal_scrolling(open_screen: OpenScreen, bot: Client, name: str) -> None:
    screen = open_screen(viewport={"width": WIDTH_NARROW, "height": 740}, has_touch=True, is_mobile=True)
    screen.open()
    page = screen.page
    tabs = page.get_by_role("navigation").get_by_role("button")
    tabs.filter(has_text="Trade").tap()
    placed = screen.place("buy", "limit", "1", price="96")
    for tab in ("Market", "Trade", "Orders"):
        tabs.filter(has_text=tab).tap()
        assert page.evaluate(HIDDEN_WIDTH) == 0, tab
    row = page.locator(f'tr[data-order="{placed["order_id"]}"]')
    expect(row).to_be_visible()
    screen.expect_orders_of(bot, name)
    row.get_by_role("button", name="Cancel").tap()
    expect(row).to_have_count(0)
