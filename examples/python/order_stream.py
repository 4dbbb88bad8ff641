"""Orders, amends and cancels on `/stream`. Many may be on their way at the same time:

async with OrderStream("http://localhost:8000", "my-client") as stream:
    prices = [Decimal(69_000), Decimal(69_010)]
    await asyncio.gather(*(stream.place("BTC-USD", "buy", Decimal(1), price) for price in prices))
"""

import asyncio
import itertools
import json
from decimal import Decimal
from typing import Any, Self

from exchange_client import Message, order_body, texts
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException


class OrderRefused(Exception):
    """The exchange refuses a request. `status` is as over REST, and `error` has `code` and `message`."""

    def __init__(self, status: int, error: Message) -> None:
        super().__init__(error["message"])
        self.status = status
        self.error = error


class OrderStream:
    """One client's orders on one connection.

    The exchange takes the requests in the order of the calls. Every method raises OrderRefused, or
    ConnectionError if the connection ended before the result came. Then the request may have been
    carried out: `Trader.find` tells, or send the order again with the same key.
    """

    def __init__(self, url: str, client_id: str) -> None:
        """`url` is the API's (http or https)."""
        self.client_id = client_id
        self._url = url.replace("http", "ws", 1) + "/stream"
        self._ids = itertools.count(1)
        self._results: dict[int, asyncio.Future[Message]] = {}  # by the id of their request

    async def __aenter__(self) -> Self:
        self._connection = await connect(self._url, max_size=None)
        self._receiving = asyncio.create_task(self._receive())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.close()
        await self._receiving

    async def place(
        self, instrument: str, side: str, quantity: Decimal, price: Decimal | None = None, **more: Any
    ) -> Message:
        """Place an order, and return it as it is after matching. `more` is as for `order_body`."""
        order = order_body(self.client_id, instrument, side, quantity, price, **more)
        placed: Message = (await self.request("place_order", order=order))["order"]
        return placed

    async def place_all(self, orders: list[Message]) -> list[Message]:
        """Place up to 100 orders of `order_body`. Return a result for each, in the same order.

        A result has `status`, and `order` or `error`.
        """
        results: list[Message] = (await self.request("place_orders", orders=orders))["results"]
        return results

    async def amend(self, order_id: str, **changes: Any) -> Message:
        """Change an order's `price`, `quantity`, `expires_at` or `trigger_price`. Return the order."""
        fields = {"client_id": self.client_id, "order_id": order_id, **texts(changes)}
        amended: Message = (await self.request("amend_order", **fields))["order"]
        return amended

    async def amend_all(self, amends: list[Message]) -> list[Message]:
        """Change up to 100 orders. An amend has `order_id` and changes. Results as of `place_all`."""
        named = [{"client_id": self.client_id, **texts(amend)} for amend in amends]
        results: list[Message] = (await self.request("amend_orders", amends=named))["results"]
        return results

    async def cancel(self, order_id: str) -> Message:
        """Cancel an order, and return it."""
        cancelled: Message = (await self.request("cancel_order", order_id=order_id))["order"]
        return cancelled

    async def cancel_all(self, **which: str) -> int:
        """Cancel all open and pending orders, or those of an `instrument` or a `side`.

        Return how many were cancelled.
        """
        count: int = (await self.request("cancel_orders", client_id=self.client_id, **which))[
            "cancelled_count"
        ]
        return count

    async def cancel_after(self, seconds: int) -> None:
        """Let the exchange cancel all orders after `seconds`, unless this is called again. 0: never."""
        await self.request("cancel_after", client_id=self.client_id, timeout_seconds=seconds)

    async def cancel_on_disconnect(self, enabled: bool = True) -> None:
        """Let the exchange cancel all orders of the client when this connection ends, or not."""
        await self.request("cancel_on_disconnect", client_id=self.client_id, enabled=enabled)

    async def request(self, kind: str, **fields: Any) -> Message:
        """Send a request of this type, and return its result."""
        if self._receiving.done():
            raise ConnectionError("the connection has ended: the request was not sent")
        identity = next(self._ids)
        result = self._results[identity] = asyncio.get_running_loop().create_future()
        try:
            await self._connection.send(json.dumps({"type": kind, "id": identity, **fields}))
            message: Message = await result
        except WebSocketException as error:
            raise ConnectionError("the connection ended while the request was sent") from error
        finally:
            del self._results[identity]
        if "error" in message:
            raise OrderRefused(message["status"], message["error"])
        return message

    async def _receive(self) -> None:
        """Hand each result to its request, until the connection ends."""
        try:
            async for text in self._connection:
                message = json.loads(text, parse_float=Decimal)
                if message["type"] == "result" and message["id"] in self._results:
                    self._results[message["id"]].set_result(message)
        except WebSocketException:
            pass
        finally:
            for result in self._results.values():
                if not result.done():
                    result.set_exception(ConnectionError("the connection ended before the result"))
