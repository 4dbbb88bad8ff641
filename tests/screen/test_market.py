"""The first visit: book, chart, trades and ticker show what the exchange has.

The browser remembers the name and the theme.
"""

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.contract.client import Client
from tests.screen.conftest import OpenScreen
from tests.screen.screen import number, optional_number
from tests.system.exchange import wait_until

TICKER = ("change", "high", "low", "volume")
CANDLE = ("open", "high", "low", "close", "volume")

# The number of pixels of the chart that have the colour of a rising or a falling candle.
DRAWN_CANDLE_PIXELS = r"""() => {
  const probe = document.createElement("i");
  document.body.append(probe);
  const colours = ["candle-up", "candle-down"].map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color.match(/\d+/g).slice(0, 3).join();
  });
  probe.remove();
  return [...document.querySelectorAll(".chart-frame canvas")].reduce((count, canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) {
      count += colours.includes(`${data[i]},${data[i + 1]},${data[i + 2]}`) ? 1 : 0;
    }
    return count;
  }, 0);
}"""


def expect_figures(shown: Locator, figures: list[Any]) -> None:
    """Return once the elements show these numbers, perhaps each behind its name."""

    def is_same() -> bool:
        return [optional_number(text.split()[-1]) for text in shown.all_inner_texts()] == figures

    wait_until(is_same, f"{figures} are shown")


def choose_name_and_theme(page: Page, name: str) -> None:
    page.get_by_role("button", name="Choose a name").first.click()
    page.get_by_role("textbox", name="Name").fill(f"{name} ")
    page.get_by_role("button", name="Trade as").click()
    while page.evaluate("() => document.documentElement.dataset.theme") != "light":
        page.locator(".theme-button").click()


def test_a_first_visit(open_screen: OpenScreen, bot: Client, symbol: str, name: str) -> None:
    screen = open_screen(client="", color_scheme="dark").open()
    page = screen.page
    book = screen.expect_book_of(bot)
    assert [price for price, *_ in book.asks] == [105, 106, number("107.25")]

    trades = bot.get("/trades", instrument=symbol).json["trades"]
    rows = page.locator(".tape-body [role=row]")
    expect(rows).to_have_count(len(trades))
    shown = [[number(text) for text in row.split()[:2]] for row in rows.all_inner_texts()]
    assert shown == [[trade["price"], trade["quantity"]] for trade in trades]

    ticker = bot.get("/ticker", instrument=symbol).json
    expect(page.locator(".last-price")).to_have_text("100.00")
    expect_figures(page.locator(".ticker dd"), [ticker[name] for name in TICKER])
    expect(page).to_have_title(f"100 · {symbol} · Tradepost")

    candle = bot.get("/candles", instrument=symbol, interval="1m").json["candles"][-1]
    expect_figures(page.locator(".legend-figure"), [candle[name] for name in CANDLE])
    assert page.locator(".chart-frame canvas").count() > 0
    wait_until(lambda: page.evaluate(DRAWN_CANDLE_PIXELS) > 0, "the candle is drawn")
    page.get_by_role("tab", name="Depth").click()
    expect(page.locator("#chart-panel canvas")).to_be_visible()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    choose_name_and_theme(page, name)
    page.reload()
    screen.expect_live()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.locator(".client-name")).to_have_text(name)
