"""A stop that outlives its bot: `python examples/python/trailing_stop.py --name first`.

It buys at the market and places a stop `--percent` below the price that it paid. Then it moves the
stop up behind the trades, until the stop is triggered. The exchange keeps the stop: if this program
is killed, the stop still sells, at the trigger price of the last move. Start the program again with
the same `--name`, and it goes on: the keys of its orders come from the name, so it buys nothing
twice.

A dead man's switch would cancel the stop, too. So use a client that has none, unlike the market
maker's.
"""

import argparse
import asyncio
import contextlib
import sys
from decimal import ROUND_DOWN, Decimal

import httpx
from exchange_client import Market, Message, Trader

TICK = Decimal("0.01")


class NothingBought(Exception):
    """There is nothing to protect: nobody sells."""


async def protect(
    trader: Trader, instrument: str, name: str, *, quantity: Decimal, percent: Decimal
) -> Message:
    """Buy, and place a stop for what was bought. Return the stop as it is now.

    The second time, it returns the stop of the first time. Raises NothingBought, httpx.HTTPError.
    """
    bought = await trader.place(instrument, "buy", quantity, key=f"{name}-buy")
    held = bought["filled_quantity"]
    if not held:
        raise NothingBought
    trigger = trigger_below(bought["average_price"], percent)
    stop = await trader.place(
        instrument, "sell", held, key=f"{name}-stop", type="stop", trigger_price=trigger
    )
    if stop["reason"] == "would_trigger":  # The price fell that far while this program bought.
        return await trader.place(instrument, "sell", held, key=f"{name}-exit")
    return stop


async def trail(market: Market, trader: Trader, stop: Message, percent: Decimal) -> None:
    """Move the stop up behind the trades until it is not pending any more. Raises httpx.HTTPError.

    `market` follows trades and the client's orders.
    """
    trigger = stop["trigger_price"]
    async for message in market:
        if message["type"] == "trade":
            higher = trigger_below(message["price"], percent)
            # The exchange refuses the amend if the price has fallen to the new trigger price already.
            if higher > trigger and await trader.amend(stop["order_id"], trigger_price=higher):
                trigger = higher
        elif message["type"] == "order_update":
            if message["order_id"] == stop["order_id"] and message["status"] != "pending":
                return
        elif message["type"] == "orders_snapshot" and stop["order_id"] not in {
            order["order_id"] for order in message["orders"]
        }:
            return  # It was triggered before the connection was there.


def trigger_below(price: Decimal, percent: Decimal) -> Decimal:
    return (price * (1 - percent / 100)).quantize(TICK, ROUND_DOWN)


async def run(options: argparse.Namespace) -> None:
    instrument, name, percent = options.instrument, options.name, options.percent
    async with Trader(options.url, options.client_id) as trader:
        stop = await protect(trader, instrument, name, quantity=options.quantity, percent=percent)
        print(f"stop at {stop['trigger_price']}: {stop['status']}", flush=True)
        if stop["status"] == "pending":
            market = Market(options.url, instrument, "trades", "orders", client_id=options.client_id)
            await trail(market, trader, stop, percent)
        sold = await trader.find(f"{name}-stop")
        if sold is not None:
            print(f"{sold['status']}: {sold['filled_quantity']} at {sold['average_price']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--client-id", default="holder")
    parser.add_argument("--instrument", default="BTC-USD")
    parser.add_argument("--name", required=True, help="of this position: the start of its orders' keys")
    parser.add_argument("--quantity", type=Decimal, default=Decimal("0.1"))
    parser.add_argument("--percent", type=Decimal, default=Decimal(1), help="below the best price (1)")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(run(options))
        except NothingBought:
            sys.exit("nobody sells: nothing was bought")
        except httpx.HTTPError as error:
            sys.exit(f"{options.url} does not take orders: {error!r}")


if __name__ == "__main__":
    main()
