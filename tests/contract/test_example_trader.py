"""The example client, examples/python/exchange_client.py, with a running exchange."""

import asyncio

import pytest

from tests.contract.client import Client
from tests.contract.market import Market
from tests.examples import exchange_client
from tests.system.exchange import RunningExchange

PAGE = 2  # orders on a page: less than the trader has


def test_the_example_trader_finds_all_its_open_orders_of_an_instrument(
    exchange: RunningExchange, client: Client, market: Market, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_client, "PAGE", PAGE)
    instrument, other = market.fresh_instrument(), market.fresh_instrument()
    placed = [client.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"] for _ in range(7)]
    client.place(other, "buy", 1, 10, client_id=client_id)
    client.place(instrument, "sell", "1.5", 10)  # fills the first order, and part of the second

    async def open_orders() -> list[str]:
        async with exchange_client.Trader(exchange.url, client_id) as trader:
            found: list[str] = await trader.open_orders(instrument)
            return found

    assert asyncio.run(open_orders()) == [*placed[:1:-1], placed[1]]
