"""The examples in examples/python, with a running exchange."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import pytest

from tests.contract.client import Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.market import Market
from tests.examples import exchange_client, market_maker, order_stream, timed_order, trailing_stop
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange

PAGE = 2  # orders on a page: less than the trader has
UNKNOWN_ID = "01990000-0000-7000-8000-000000000000"
ONE, TWO = Decimal(1), Decimal(2)


def run(example: Awaitable[Any]) -> Any:
    """Run an example within PATIENCE_SECONDS."""

    async def within_patience() -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await example

    return asyncio.run(within_patience())


@asynccontextmanager
async def both_ways(exchange: RunningExchange, client_id: str) -> AsyncIterator[list[Any]]:
    """The client's orders over REST and on the stream."""
    async with (
        exchange_client.Trader(exchange.url, client_id) as trader,
        order_stream.OrderStream(exchange.url, client_id) as stream,
    ):
        yield [trader, stream]


def test_the_example_trader_finds_all_its_open_orders_of_an_instrument(
    exchange: RunningExchange, client: Client, market: Market, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_client, "PAGE", PAGE)
    instrument, other = market.fresh_instrument(), market.fresh_instrument()
    placed = [client.place(instrument, "buy", 1, 10, client_id=client_id)["order_id"] for _ in range(7)]
    client.place(other, "buy", 1, 10, client_id=client_id)
    client.place(instrument, "sell", "1.5", 10)  # fills the first order, and part of the second
    stop = {"type": "stop", "trigger_price": 20}
    placed.append(client.place(instrument, "buy", 1, client_id=client_id, **stop)["order_id"])

    async def open_orders() -> list[str]:
        async with exchange_client.Trader(exchange.url, client_id) as trader:
            found: list[str] = await trader.open_orders(instrument)
            return found

    assert run(open_orders()) == placed[:0:-1]


def test_the_examples_place_amend_and_cancel_over_rest_and_on_the_stream(
    exchange: RunningExchange, instrument: str, client_id: str
) -> None:
    async def trade(orders: Any) -> None:
        first = await orders.place(instrument, "buy", TWO, Decimal("10.50"), post_only=True)
        assert (first["price"], first["post_only"], first["status"]) == (Decimal("10.5"), True, "open")
        bodies = [exchange_client.order_body(client_id, instrument, "sell", ONE, price) for price in (20, 21)]
        bodies.append({**bodies[0], "price": "0"})
        placed = await orders.place_all(bodies)
        assert [result["status"] for result in placed] == [201, 201, 400]
        amended = await orders.amend(first["order_id"], quantity=ONE)
        assert (amended["order_id"], amended["quantity"]) == (first["order_id"], 1)
        amends = [{"order_id": result["order"]["order_id"], "price": Decimal(22)} for result in placed[:2]]
        moved = await orders.amend_all([*amends, {"order_id": UNKNOWN_ID, "price": ONE}])
        assert [result["status"] for result in moved] == [200, 200, 404]
        assert {result["order"]["price"] for result in moved[:2]} == {22}
        assert await orders.cancel(first["order_id"])
        assert await orders.cancel_all(instrument=instrument, side="sell") == 2
        await orders.cancel_after(60)
        await orders.cancel_after(0)

    async def trade_both_ways() -> None:
        async with both_ways(exchange, client_id) as ways:
            for orders in ways:
                await trade(orders)

    run(trade_both_ways())


@ON_UVICORN
def test_refusals_of_single_orders_can_be_told_apart(
    exchange: RunningExchange, instrument: str, client_id: str
) -> None:
    async def try_all() -> None:
        async with both_ways(exchange, client_id) as (trader, stream):
            gone = (await trader.place(instrument, "buy", ONE, Decimal(10)))["order_id"]
            assert await trader.cancel(gone)
            assert not await trader.cancel(gone)
            assert await trader.amend(gone, price=ONE) is None
            with pytest.raises(order_stream.OrderRefused) as refused:
                await stream.amend(gone, price=ONE)
            assert (refused.value.status, refused.value.error["code"]) == (409, "order_not_open")
            with pytest.raises(httpx.HTTPStatusError):
                await trader.place(instrument, "buy", ONE, Decimal(0))

    run(try_all())


@ON_UVICORN
def test_orders_on_the_stream_are_taken_in_the_order_of_the_calls(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    async def place() -> list[str]:
        async with order_stream.OrderStream(exchange.url, client_id) as stream:
            placing = [stream.place(instrument, "buy", ONE, Decimal(10)) for _ in range(30)]
            return [order["order_id"] for order in await asyncio.gather(*placing)]

    placed = run(place())
    client.place(instrument, "sell", 10, 10)
    statuses = [client.order(order_id)["status"] for order_id in placed]
    assert statuses == ["filled"] * 10 + ["open"] * 20


@ON_UVICORN
def test_an_unanswered_order_on_the_stream_can_be_found_by_its_key(
    exchange: RunningExchange, instrument: str, client_id: str
) -> None:
    async def place_and_break() -> Any:
        async with both_ways(exchange, client_id) as (trader, stream):
            placing = asyncio.create_task(stream.place(instrument, "buy", ONE, Decimal(10), key="mine"))
            await asyncio.sleep(0)  # It is sent.
            stream._connection.transport.abort()
            with pytest.raises(ConnectionError):
                await placing
            with pytest.raises(ConnectionError):
                await stream.cancel_all()
            # The same order with the same key is placed once, whatever happened to the first request.
            placed = await trader.place(instrument, "buy", ONE, Decimal(10), key="mine")
            found = await trader.find("mine")
            assert await trader.find("other") is None
            return placed, found, await trader.open_orders(instrument)

    placed, found, open_orders = run(place_and_break())
    assert placed == found
    assert open_orders == [placed["order_id"]]


@ON_UVICORN
def test_the_end_of_a_connection_cancels_the_orders_of_the_client(
    exchange: RunningExchange, instrument: str, client_id: str
) -> None:
    async def place_and_leave() -> None:
        async with exchange_client.Trader(exchange.url, client_id) as trader:
            async with order_stream.OrderStream(exchange.url, client_id) as stream:
                await stream.cancel_on_disconnect()
                await stream.place(instrument, "buy", ONE, Decimal(10), key="guarded")
            while (await trader.find("guarded"))["reason"] != "disconnected":
                pass

    run(place_and_leave())


# --- the market maker -------------------------------------------------------------------------------


@asynccontextmanager
async def market_maker_of(
    exchange: RunningExchange, instrument: str, client_id: str
) -> AsyncIterator[tuple[Any, Any, asyncio.Queue[tuple[str, Any]]]]:
    """A market maker with three levels, its trader, and its answered requests: path and body."""
    answered: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def note(response: httpx.Response) -> None:
        request = response.request
        if request.method == "POST":
            await answered.put((request.url.path, json.loads(request.content)))

    async with exchange_client.Trader(exchange.url, client_id) as trader:
        trader._http.event_hooks = {"response": [note]}
        market = exchange_client.Market(exchange.url, instrument)
        yield (
            market_maker.MarketMaker(
                trader, market, instrument, price=Decimal(70_000), levels=3, random=Random(1)
            ),
            trader,
            answered,
        )


def paths(answered: asyncio.Queue[tuple[str, Any]]) -> list[str]:
    """Return the paths of the requests since the last call."""
    return [answered.get_nowait()[0] for _ in range(answered.qsize())]


@ON_UVICORN
def test_the_market_maker_moves_all_its_quotes_with_one_request(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    async def quote() -> None:
        async with market_maker_of(exchange, instrument, client_id) as (maker, trader, answered):
            await maker.requote()
            assert paths(answered) == ["/orders/batch"]
            orders = await trader.open_orders(instrument)
            books = [client.book(instrument)]
            for _ in range(5):
                await maker.requote()
                books.append(client.book(instrument))
            assert paths(answered) == ["/orders/amend"] * 5
            assert await trader.open_orders(instrument) == orders
            for before, after in itertools.pairwise(books):
                for side in ("bids", "asks"):
                    prices = [{level["price"] for level in book[side]} for book in (before, after)]
                    assert [len(some) for some in prices] == [3, 3]
                    assert not prices[0] & prices[1]

    run(quote())


@ON_UVICORN
def test_the_market_maker_places_orders_again_that_have_ended(
    exchange: RunningExchange, instrument: str, client_id: str
) -> None:
    async def quote() -> None:
        async with market_maker_of(exchange, instrument, client_id) as (maker, trader, answered):
            await maker.requote()
            assert await trader.cancel_all(side="sell") == 3
            await maker.requote()
            assert paths(answered) == ["/orders/batch", "/orders/cancel", "/orders/amend", "/orders/batch"]
            assert len(await trader.open_orders(instrument)) == 6

    run(quote())


@ON_UVICORN
def test_the_market_maker_has_a_dead_mans_switch_and_cancels_its_orders_at_the_end(
    exchange: RunningExchange, instrument: str, client_id: str
) -> None:
    async def quote() -> None:
        async with market_maker_of(exchange, instrument, client_id) as (maker, trader, answered):
            quoting = asyncio.create_task(maker.run(3_600))
            armed = {"client_id": client_id, "timeout_seconds": 3 * 3_600}
            assert await answered.get() == ("/orders/cancel-after", armed)
            assert (await answered.get())[0] == "/orders/batch"
            assert len(await trader.open_orders(instrument)) == 6
            quoting.cancel()
            assert (await answered.get())[0] == "/orders/cancel"
            assert await answered.get() == ("/orders/cancel-after", {**armed, "timeout_seconds": 0})
            assert await trader.open_orders(instrument) == []

    run(quote())


# --- a stop that outlives its bot -------------------------------------------------------------------


@ON_UVICORN
def test_a_trailing_stop_outlives_its_bot(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    percent = Decimal(10)

    async def start(trader: Any) -> tuple[Any, asyncio.Task[None]]:
        """Start the bot, and return its stop."""
        stop = await trailing_stop.protect(trader, instrument, "p", quantity=TWO, percent=percent)
        market = exchange_client.Market(exchange.url, instrument, "trades", "orders", client_id=client_id)
        return stop, asyncio.create_task(trailing_stop.trail(market, trader, stop, percent))

    def trade(price: int) -> None:
        client.place(instrument, "buy", 1, price)
        client.place(instrument, "sell", 1, price)

    async def live_twice() -> None:
        async with exchange_client.Trader(exchange.url, client_id) as trader:
            first, trailing = await start(trader)
            assert (first["status"], first["trigger_price"], first["quantity"]) == ("pending", 90, 2)
            while (await trader.find("p-stop"))["trigger_price"] != 108:
                trade(120)  # The bot may not have subscribed when it is printed.
            trailing.cancel()
            await asyncio.gather(trailing, return_exceptions=True)
            client.place(instrument, "buy", 2, 95)
            trade(108)  # This triggers the stop, while no bot is there.
            second, trailing = await start(trader)
            await trailing
            assert second["order_id"] == first["order_id"]
            assert (second["status"], second["average_price"]) == ("filled", 95)

    client.place(instrument, "sell", 2, 100)
    run(live_twice())
    orders = client.get("/orders", client_id=client_id).json["orders"]
    assert [order["idempotency_key"] for order in orders] == ["p-stop", "p-buy"]


@ON_UVICORN
def test_a_stop_that_is_triggered_while_its_bot_follows_ends_the_bot(
    exchange: RunningExchange, client: Client, instrument: str, client_id: str
) -> None:
    async def live() -> None:
        async with exchange_client.Trader(exchange.url, client_id) as trader:
            stop = await trailing_stop.protect(trader, instrument, "p", quantity=TWO, percent=Decimal(10))
            messages = exchange_client.Market(
                exchange.url, instrument, "trades", "orders", client_id=client_id
            )

            async def market() -> AsyncIterator[Any]:
                async for message in messages:
                    yield message
                    if message["type"] == "orders_snapshot":
                        client.place(instrument, "buy", 1, 90)
                        client.place(instrument, "sell", 1, 90)

            await trailing_stop.trail(market(), trader, stop, Decimal(10))
            assert (await trader.find("p-stop"))["reason"] == "no_liquidity"

    client.place(instrument, "sell", 2, 100)
    run(live())


# --- an order with a time-out -----------------------------------------------------------------------


class LossyTransport(httpx.AsyncHTTPTransport):
    """Loses the answers to orders, or the orders themselves."""

    def __init__(self, *, is_sent: bool) -> None:
        super().__init__()
        self._is_sent = is_sent

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return await super().handle_async_request(request)
        if self._is_sent:
            await super().handle_async_request(request)
        raise httpx.ReadTimeout("lost", request=request)


@ON_UVICORN
@pytest.mark.parametrize("is_sent", [True, False])
def test_an_order_with_a_timeout_is_looked_up_if_no_answer_comes(
    exchange: RunningExchange, instrument: str, client_id: str, monkeypatch: pytest.MonkeyPatch, is_sent: bool
) -> None:
    monkeypatch.setattr(timed_order, "GRACE_SECONDS", 0)
    monkeypatch.setattr(exchange_client, "ATTEMPTS_MAX", 1)

    async def place() -> Any:
        async with exchange_client.Trader(exchange.url, client_id) as trader:
            await trader.place(instrument, "sell", ONE, Decimal(10))
            transport = LossyTransport(is_sent=is_sent)
            trader._http = httpx.AsyncClient(
                base_url=exchange.url, transport=transport, timeout=PATIENCE_SECONDS
            )
            # An order that is sent is filled at once. Its seconds only have to be enough to send it.
            seconds = PATIENCE_SECONDS if is_sent else 0.1
            return await timed_order.place_for(
                trader, instrument, "buy", ONE, Decimal(10), seconds=seconds, key="timed"
            )

    placed = run(place())
    if is_sent:
        assert (placed["status"], placed["time_in_force"]) == ("filled", "gtd")
    else:
        assert placed is None
