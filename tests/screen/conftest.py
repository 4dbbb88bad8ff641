"""Fixtures: one exchange and one Chromium for all tests of the screen, and a way to open screens.

Playwright's synchronous interface runs an event loop in this thread, so these tests use plain HTTP
clients and no model of Django. Without Chromium, they are skipped.
"""

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from loadtools.chromium import MISSING, chromium, chromium_path
from tests.contract.client import Client
from tests.contract.market import Market
from tests.contract.stream import make_trade
from tests.patience import PATIENCE_SECONDS
from tests.screen.screen import Screen
from tests.system.exchange import RunningExchange

PATIENCE_MS = PATIENCE_SECONDS * 1_000
DESKTOP = (1440, 900)

_numbers = itertools.count(1)

OpenScreen = Callable[..., Screen]


@pytest.fixture(scope="package")
def exchange() -> Iterator[RunningExchange]:
    if chromium_path() is None:
        pytest.skip(MISSING)
    with RunningExchange() as running:
        yield running


@pytest.fixture(scope="package")
def browser(exchange: RunningExchange) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def market(exchange: RunningExchange) -> Iterator[Market]:
    """The operator's access to the exchange."""
    operator = Market(exchange)
    yield operator
    operator.close()


@pytest.fixture
def bot(exchange: RunningExchange) -> Iterator[Client]:
    """A plain client of the REST API."""
    with Client(exchange.url) as client:
        yield client


@pytest.fixture
def name() -> str:
    """The name of a client without orders."""
    return f"person-{next(_numbers)}"


@pytest.fixture
def symbol(market: Market, bot: Client) -> str:
    """An instrument whose last price is 100.

    Its candle reaches from 90 to 110, and the book from a bid of 95 to an ask of 105.
    """
    instrument = market.fresh_instrument()
    for price in (90, 110, 100):
        make_trade(bot, instrument, price)
    for distance, quantity in ((5, "0.5"), (6, 2), ("7.25", "3.125")):
        bot.place(instrument, "buy", quantity, str(100 - Decimal(distance)), client_id="maker")
        bot.place(instrument, "sell", quantity, str(100 + Decimal(distance)), client_id="maker")
    return instrument


@pytest.fixture
def open_screen(browser: Browser, exchange: RunningExchange, symbol: str, name: str) -> Iterator[OpenScreen]:
    """A function that opens a screen in a context of its own, or in the one it is given.

    At the end of a test, no screen may have logged an error that the test does not allow, or have
    asked another host.
    """
    contexts: list[BrowserContext] = []
    screens: list[Screen] = []

    def open_one(
        *,
        client: str = name,
        instrument: str = symbol,
        context: BrowserContext | None = None,
        **options: Any,
    ) -> Screen:
        if context is None:
            width, height = DESKTOP
            viewport = {"width": width, "height": height}
            # Without animations, drawing takes less of the processor.
            settings: dict[str, Any] = {"viewport": viewport, "reduced_motion": "reduce", **options}
            context = browser.new_context(**settings)
            context.set_default_timeout(PATIENCE_MS)
            contexts.append(context)
        screens.append(Screen(context, exchange.url, client, instrument))
        return screens[-1]

    yield open_one
    for screen in screens:
        screen.check()
    for context in contexts:
        context.close()
