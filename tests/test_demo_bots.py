"""The bots of `make demo` quote and trade sanely, and outlive errors of the exchange."""

import asyncio
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from exchange_site.limits import HISTORY_INSTRUMENTS
from instruments.defaults import DEFAULT_INSTRUMENTS
from tests.examples import demo_bots
from tests.patience import PATIENCE_SECONDS

PLAN = demo_bots.PLANS[0]
HOURS_6 = 6 * 60 * 60
MINUTES_30 = 30 * 60
ORDERS = 400


class Recorder:
    """A trader that records the orders that it is given."""

    def __init__(self) -> None:
        self.placed: list[dict[str, Any]] = []

    async def place(
        self, instrument: str, side: str, quantity: Decimal, price: Decimal | None, **terms: Any
    ) -> None:
        self.placed.append({"side": side, "quantity": quantity, "price": price, **terms})

    async def time(self) -> Any:
        return demo_bots.timedelta(0)


def fair(seed: int = 1, price: Decimal = PLAN.home) -> Any:
    return demo_bots.FairPrice(price, PLAN.home, Random(seed))


def maker(price: Any) -> Any:
    market = SimpleNamespace(book=None)
    return demo_bots.DemoMaker(None, market, PLAN, price, Random(1))


def test_the_plans_are_the_default_instruments_at_the_prices_of_the_made_past() -> None:
    assert [f"{plan.symbol}:{plan.home}" for plan in demo_bots.PLANS] == list(HISTORY_INSTRUMENTS)
    for plan in demo_bots.PLANS:
        limits = DEFAULT_INSTRUMENTS[plan.symbol]
        assert plan.tick % Decimal(limits["tick_size"]) == 0
        assert plan.step % Decimal(limits["lot_size"]) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fair_price_moves_but_stays_near_home(seed: int) -> None:
    price = fair(seed)
    lowest = highest = price.price
    for _ in range(HOURS_6):
        price.step()
        lowest, highest = min(lowest, price.price), max(highest, price.price)
        assert 0 < price.heat <= demo_bots.HEAT_MAX
    assert PLAN.home * Decimal("0.9") < lowest < PLAN.home < highest < PLAN.home * Decimal("1.1")
    assert (highest - lowest) / PLAN.home > Decimal("0.003")


def test_a_fair_price_far_away_comes_home() -> None:
    price = fair(price=2 * PLAN.home)
    for _ in range(HOURS_6):
        price.step()
    assert price.price < PLAN.home * Decimal("1.7")


def test_a_maker_never_quotes_across_its_own_prices_and_moves_few_orders() -> None:
    price = fair()
    quoting = maker(price)
    moved = quotes = 0
    for _ in range(MINUTES_30 // 2):
        price.step()
        price.step()
        quoting._price = quoting._next_price()
        wanted = quoting._wanted_prices()
        moved += sum(quoting._prices.get(quote) != wanted[quote] for quote in wanted)
        quotes += len(wanted)
        quoting._prices = wanted
        asks = [wanted["sell", level] for level in range(demo_bots.LEVELS)]
        bids = [wanted["buy", level] for level in range(demo_bots.LEVELS)]
        assert max(bids) < price.price < min(asks)
        assert max(asks) / min(bids) < Decimal("1.01")
        assert all(quote % PLAN.tick == 0 for quote in wanted.values())
    assert quotes / 20 < moved < quotes / 1.5


def test_takers_send_orders_of_each_kind_with_few_large_ones() -> None:
    async def trade() -> list[dict[str, Any]]:
        recorder = Recorder()
        taker = demo_bots.Taker(recorder, PLAN, fair(), Random(1))
        for _ in range(ORDERS):
            await taker.trade()
        return recorder.placed

    placed = asyncio.run(trade())
    kinds = [order.get("type", "limit" if order["price"] else "market") for order in placed]
    assert kinds.count("market") > kinds.count("limit") > kinds.count("stop_limit") > 0
    assert {order["side"] for order in placed} == {"buy", "sell"}
    sizes = sorted(order["quantity"] for order in placed)
    assert sizes[0] > 0
    assert sizes[-1] > 8 * sizes[ORDERS // 2]
    assert all(size % PLAN.step == 0 for size in sizes)
    for order in placed:
        for name in ("price", "trigger_price"):
            assert (order.get(name) or Decimal(0)) % PLAN.tick == 0


def test_a_bot_outlives_errors_of_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_bots, "RETRY_SECONDS", 0)
    attempts = 0

    async def run() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            raise KeyError("an error of the bot itself")
        raise httpx.ConnectError("the exchange is away")

    async def scenario() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await demo_bots.outlive_outages(run)

    with pytest.raises(KeyError):
        asyncio.run(scenario())
    assert attempts == 3
