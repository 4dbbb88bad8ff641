"""One open trading screen, as a person sees and uses it."""

import json
import re
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import BrowserContext, Locator, Page, Response, expect

from tests.contract.client import Client, exact_json
from tests.system.exchange import wait_until

# Chromium logs these lines itself.
LOST = r"Failed to load resource: net::ERR_"
OUTAGE = rf"{LOST}|Failed to load resource: .* status of 50[34]|WebSocket connection to"
REFUSED = r"Failed to load resource: the server responded with a status of 4\d\d"
REMEMBER = """for (const [key, value] of Object.entries({})) {
  if (!localStorage.getItem(key)) localStorage.setItem(key, value);
}"""
# Everything that is compared is read at once, so that it belongs to one frame.
READ_LADDER = """() => {
  const ladder = document.querySelector("#ladder");
  const side = (name) => [...ladder.querySelectorAll(`.${name} .ladder-row`)]
    .filter((row) => row.style.visibility !== "hidden")
    .map((row) => [".ladder-price", ".ladder-quantity", ".ladder-total"]
      .map((part) => row.querySelector(part).textContent));
  const { symbol, sequence } = ladder.dataset;
  return { symbol, sequence, asks: side("asks").reverse(), bids: side("bids") };
}"""
READ_ROWS = """() => [...document.querySelectorAll("#panels-panel tbody tr")].map((row) => [
  row.dataset.order ?? null, ...[...row.children].map((cell) => cell.innerText.trim())])"""
READ_ORDERS = """() => [...document.querySelectorAll("#panels-panel tr[data-order]")].map((row) => [
  row.dataset.order,
  ...[...row.children].slice(0, 8).map((cell) => cell.firstChild?.textContent ?? cell.textContent),
  row.querySelector(".state").textContent])"""
STATUS = {"pending": "Waiting", "open": "Open", "partially_filled": "Partly filled"}
TYPES = {
    "limit": "Limit",
    "market": "Market",
    "stop": "Stop",
    "stop_limit": "Stop limit",
    "take_profit": "Take profit",
    "take_profit_limit": "Take profit limit",
}


class Book(NamedTuple):
    """The levels of a book at a sequence: (price, quantity, cumulative quantity), best first."""

    sequence: int
    bids: list[tuple[Decimal, ...]]
    asks: list[tuple[Decimal, ...]]


def number(text: str) -> Decimal:
    """Return the number that the screen shows."""
    return Decimal(text.replace(",", "").replace("+", "").replace("−", "-"))  # noqa: RUF001 - a minus


def optional_number(text: str) -> Decimal | None:
    return None if text == "–" else number(text)  # noqa: RUF001 - a dash


class Screen:
    """A page with the trading screen. `page` is Playwright's."""

    def __init__(self, context: BrowserContext, url: str, client: str, instrument: str) -> None:
        self.context = context
        self.url = url
        self.symbol = instrument
        self.page: Page = context.new_page()
        self._allowed: list[str] = []
        self._logged: list[str] = []
        self._hosts: set[str] = set()
        self.page.on("console", lambda message: self._log(message.type, message.text))
        self.page.on("pageerror", lambda error: self._log("error", str(error)))
        self.page.on("request", lambda request: self._hosts.add(urlsplit(request.url).netloc))
        self.page.on("websocket", lambda socket: self._hosts.add(urlsplit(socket.url).netloc))
        remembered = {"screen.instrument": instrument, **({"screen.client": client} if client else {})}
        self.page.add_init_script(REMEMBER.replace("{}", json.dumps(remembered)))

    def open(self) -> "Screen":
        """Open the page. Return once it shows the book and is live."""
        self.page.goto(self.url)
        self.expect_live()
        return self

    def expect_live(self) -> None:
        expect(self.page.locator(f'#ladder[data-symbol="{self.symbol}"]')).to_be_visible()
        expect(self.page.locator(".connection-open")).to_be_visible()

    def _log(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self._logged.append(text)

    def allow(self, pattern: str) -> None:
        """Allow errors on the console that the pattern matches."""
        self._allowed.append(pattern)

    def check(self) -> None:
        """Fail if an error was logged that is not allowed, or if another host was asked."""
        logged = [text for text in self._logged if not any(re.match(each, text) for each in self._allowed)]
        assert not logged
        assert self._hosts <= {urlsplit(self.url).netloc}

    # The market

    def ladder(self) -> Book:
        """Return the book that the ladder shows."""
        read = self.page.evaluate(READ_LADDER)
        assert read["symbol"] == self.symbol
        sides = ([tuple(map(number, row)) for row in read[side]] for side in ("bids", "asks"))
        return Book(int(read["sequence"]), *sides)

    def expect_book_of(self, client: Client) -> Book:
        """Return once the ladder shows the book of `GET /orderbook`, at the same sequence."""
        seen: list[Book] = []

        def is_same() -> bool:
            seen[:] = [self.ladder(), book_of(client, self.symbol)]
            return seen[0].sequence == seen[1].sequence

        wait_until(is_same, f"the ladder has the exchange's sequence: {seen}")
        assert seen[0] == seen[1]
        return seen[0]

    def diagnostics(self) -> dict[str, int]:
        """Return the counts of the data layer."""
        counts = self.page.evaluate("() => document.documentElement.dataset.diagnostics")
        return dict(json.loads(counts))

    # The person's orders

    def panel(self, key: str) -> Locator:
        """Show one of the panels, and return it."""
        self.page.locator(f"#panels-tab-{key}").click()
        return self.page.locator("#panels-panel")

    def rows(self, key: str) -> list[list[str]]:
        """Return the texts of a panel's rows, without the ids of orders."""
        self.panel(key)
        return [row[1:] for row in self.page.evaluate(READ_ROWS)]

    def orders(self) -> dict[str, tuple[Any, ...]]:
        """Return the shown open orders by their ids. Their panel must be shown."""
        return {
            order_id: (symbol, side, kind, *map(optional_number, numbers[:3]), number(numbers[3]), status)
            for order_id, symbol, side, kind, *numbers, _, status in self.page.evaluate(READ_ORDERS)
        }

    def expect_orders_of(self, client: Client, name: str) -> dict[str, tuple[Any, ...]]:
        """Return once the open orders are those of `GET /orders`, in every figure."""
        seen: list[dict[str, tuple[Any, ...]]] = []

        def is_same() -> bool:
            seen[:] = [self.orders(), open_orders_of(client, name)]
            return seen[0] == seen[1]

        try:
            wait_until(is_same, "the screen shows the exchange's open orders")
        except AssertionError:
            assert seen[0] == seen[1]
            raise
        return seen[0]

    # The ticket

    def fill_ticket(
        self,
        side: str,
        kind: str,
        quantity: str,
        *,
        price: str = "",
        trigger: str = "",
        time_in_force: str = "",
        expires: str = "",
        post_only: bool = False,
    ) -> None:
        """Fill in an order, with the mouse and the keyboard. `expires` is the name of a preset."""
        ticket = self.page.locator(".ticket")
        ticket.locator(f'.sides [data-key="{side}"]').click()
        if kind in ("limit", "market"):
            ticket.locator(".types").get_by_role("button", name=TYPES[kind]).click()
        else:
            ticket.locator(".types select").select_option(kind)
        for field, text in (("trigger_price", trigger), ("price", price), ("quantity", quantity)):
            if text:
                ticket.locator(f'[data-field="{field}"]').fill(text)
        time_in_force = time_in_force or ("gtc" if kind.endswith("limit") else "ioc")
        ticket.locator('[data-field="time_in_force"]').select_option(time_in_force)
        if expires:
            ticket.get_by_role("button", name=expires, exact=True).click()
        if kind.endswith("limit") and time_in_force in ("gtc", "gtd"):
            ticket.locator('[data-field="post_only"]').set_checked(post_only)

    def send(self, status: int = 201) -> Any:
        """Send the order with a click, and return the answer's document."""
        with self.page.expect_response(is_entry) as answer:
            self.page.locator("#send").click()
        assert answer.value.status == status, answer.value.text()
        return exact_json(answer.value.text())

    def place(self, *order: str, **more: Any) -> Any:
        """Fill in an order, send it, and return the exchange's answer."""
        self.fill_ticket(*order, **more)
        return self.send()

    def line(self, order_id: str, field: str = "price") -> Locator:
        """Return an order's line on the chart."""
        return self.page.locator(f'.order-line[data-order="{order_id}"][data-line="{field}"]')

    def drag(self, order_id: str, field: str, pixels: int) -> Decimal:
        """Drag an order's line and confirm it. Return the price that the question named."""
        line = self.line(order_id, field)
        handle = line.locator(".order-line-handle")
        handle.hover()  # waits until the line stands still
        box = handle.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.down()
        self.page.mouse.move(x, y + pixels, steps=3)
        self.page.mouse.up()
        question = line.get_by_role("group").get_attribute("aria-label") or ""
        found = re.fullmatch(r"Move the (?:trigger )?price from \S+ to (\S+)\?", question)
        assert found is not None, question
        line.get_by_role("button", name="Amend").click()
        return number(found[1])


def is_entry(response: Response) -> bool:
    return response.request.method == "POST" and urlsplit(response.url).path == "/orders"


def book_of(client: Client, symbol: str) -> Book:
    """Return the exchange's book."""
    book = client.book(symbol)
    sides = (
        [tuple(Decimal(level[part]) for part in ("price", "quantity", "cumulative")) for level in book[side]]
        for side in ("bids", "asks")
    )
    return Book(book["sequence"], *sides)


def open_orders_of(client: Client, name: str) -> dict[str, tuple[Any, ...]]:
    """Return the client's open and waiting orders of the exchange, as the screen shows them."""
    query = urlencode([("client_id", name), ("status", "pending"), ("status", "resting"), ("limit", 1000)])
    rows = client.get(f"/orders?{query}").json["orders"]
    return {
        row["order_id"]: (
            *(row["instrument"], row["side"].capitalize(), TYPES[row["type"]]),
            *(row["price"], row["trigger_price"], row["quantity"], row["filled_quantity"]),
            STATUS[row["status"]],
        )
        for row in rows
    }
