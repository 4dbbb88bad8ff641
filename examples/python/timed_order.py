"""An order with a time-out: `python examples/python/timed_order.py buy 0.1 70000 --seconds 5`.

After the time-out it is certain what has become of the order, even if no answer came: the order
expires by itself (`gtd`), and its key finds it.
"""

import argparse
import asyncio
import sys
import uuid
from datetime import timedelta
from decimal import Decimal

import httpx
from exchange_client import RETRY_STATUSES, Message, Trader

ENDED = ("filled", "cancelled", "rejected")
POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0  # What the exchange matched in time may be committed a little later.


async def place_for(
    trader: Trader,
    instrument: str,
    side: str,
    quantity: Decimal,
    price: Decimal,
    *,
    seconds: float,
    key: str,
) -> Message | None:
    """Place a limit order for some seconds. Return it once it has ended.

    Return None if the exchange has not taken the order in time. Then it never trades: what arrives
    after `expires_at` is cancelled. Raises httpx.HTTPError if the exchange refuses the order, or
    does not answer questions.
    """
    expires_at = await trader.time() + timedelta(seconds=seconds)
    loop = asyncio.get_running_loop()
    given_up_at = loop.time() + seconds + GRACE_SECONDS
    try:
        async with asyncio.timeout(seconds):
            await trader.place(
                instrument, side, quantity, price, key=key, time_in_force="gtd", expires_at=expires_at
            )
    except (TimeoutError, httpx.TransportError):
        pass  # Not answered: the order may be there or not.
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in RETRY_STATUSES:
            raise
    while True:
        order = await trader.find(key)
        if order is not None and order["status"] in ENDED:
            return order
        if order is None and loop.time() >= given_up_at:
            return None
        await asyncio.sleep(POLL_SECONDS)


async def run(options: argparse.Namespace) -> None:
    async with Trader(options.url, options.client_id) as trader:
        order = await place_for(
            trader,
            options.instrument,
            options.side,
            options.quantity,
            options.price,
            seconds=options.seconds,
            key=str(uuid.uuid4()),
        )
    if order is None:
        print("not taken")
    else:
        print(f"{order['status']}: {order['filled_quantity']} of {order['quantity']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("buy", "sell"))
    parser.add_argument("quantity", type=Decimal)
    parser.add_argument("price", type=Decimal)
    parser.add_argument("--seconds", type=float, default=5.0, help="life of the order (5)")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--client-id", default="timed")
    parser.add_argument("--instrument", default="BTC-USD")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except httpx.HTTPError as error:
        sys.exit(f"{options.url} does not take the order: {error!r}")


if __name__ == "__main__":
    main()
