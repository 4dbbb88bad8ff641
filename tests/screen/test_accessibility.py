"""axe finds no serious fault: see https://github.com/dequelabs/axe-core.

axe comes with the packages that build the screen, which `make check-screen` and `make screen`
install. Without it, these tests are skipped. The page's policy does not stop scripts of the test.
"""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.contract.client import Client
from tests.screen.conftest import OpenScreen

AXE = Path(__file__).resolve().parents[2] / "screen/frontend/node_modules/axe-core/axe.min.js"
RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => [id, help, nodes.map((node) => node.html.slice(0, 200))]);
}"""


@pytest.fixture(autouse=True)
def axe_is_installed() -> None:
    if not AXE.exists():
        pytest.skip("needs axe, which make check-screen installs")


def faults(page: Page) -> Any:
    """Return the serious and critical faults that axe finds on the page."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    return page.evaluate(RUN_AXE)


def test_desktop(open_screen: OpenScreen, bot: Client, symbol: str, name: str) -> None:
    """With an order that rests, one that waits, and fills."""
    screen = open_screen(color_scheme="dark")
    for price in ("96", "105"):
        bot.place(symbol, "buy", "0.5", price, client_id=name)
    stop = {"type": "stop", "trigger_price": 90, "client_id": name}
    bot.place(symbol, "sell", 1, **stop)
    page = screen.open().page
    expect(page.locator(".order-line")).to_have_count(2)
    assert faults(page) == []
    page.emulate_media(color_scheme="light")
    screen.panel("fills")
    assert faults(page) == []
    # Errors at their fields.
    page.locator("#send").click()
    expect(page.locator(".field-error")).to_have_count(2)
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []


def test_phone(open_screen: OpenScreen, bot: Client, symbol: str, name: str) -> None:
    bot.place(symbol, "buy", 1, 96, client_id=name)
    screen = open_screen(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).open()
    for tab in ("Market", "Trade", "Orders"):
        screen.page.get_by_role("navigation").get_by_role("button").filter(has_text=tab).tap()
        assert faults(screen.page) == [], tab
