"""A client of the exchange: orders over REST, and a local book that is proven by its checksum.

It needs `httpx` and `websockets`, and none of the exchange's own code, so you can copy it.
`order_stream.py` sends orders on the stream.
"""

import asyncio
import json
import uuid
import zlib
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

Message = dict[str, Any]

CHECKSUM_LEVELS = 10
PAGE = 100  # Orders on one page.
ATTEMPTS_MAX = 10  # Attempts to send one request.
RETRY_STATUSES = (429, 503, 504)
# Codes of refused subscriptions that no retry helps.
FINAL_REFUSALS = ("invalid_message", "instrument_not_found")
RECONNECT_SECONDS_MIN = 0.2
RECONNECT_SECONDS_MAX = 5.0
SILENCE_SECONDS_MAX = 30.0  # The exchange sends a message at least every 15 s.


class BookError(Exception):
    """The local book differs from the exchange's: a delta is missing, or the checksum is wrong."""


class Refused(Exception):
    """The exchange refuses a subscription, for now (`code` may be `unavailable`) or always."""

    def __init__(self, error: Message) -> None:
        super().__init__(error["message"])
        self.code: str = error["code"]


class FollowedBook:
    """One instrument's levels at one sequence: (quantity, orders) by price.

    `tick_size` and `lot_size` come from GET /instruments. The checksum has their decimals.
    """

    def __init__(self, snapshot: Message, tick_size: Decimal, lot_size: Decimal) -> None:
        self.sequence: int = snapshot["sequence"]
        self._price_unit = _last_decimal(tick_size)
        self._quantity_unit = _last_decimal(lot_size)
        self.bids = _levels(snapshot["bids"])
        self.asks = _levels(snapshot["asks"])
        self._verify(snapshot["checksum"])

    @property
    def best_bid(self) -> Decimal | None:
        return max(self.bids, default=None)

    @property
    def best_ask(self) -> Decimal | None:
        return min(self.asks, default=None)

    def apply(self, delta: Message) -> None:
        """Apply a delta. Raises BookError if a new snapshot is needed."""
        if delta["previous_sequence"] != self.sequence:
            raise BookError(f"{delta['previous_sequence']} does not continue {self.sequence}")
        for change in delta["changes"]:
            side = self.bids if change["side"] == "buy" else self.asks
            if change["orders"]:
                side[change["price"]] = change["quantity"], change["orders"]
            else:
                side.pop(change["price"], None)
        self.sequence = delta["sequence"]
        self._verify(delta["checksum"])

    def checksum(self) -> int:
        """Return the CRC-32 of the best levels, as docs/api.md describes it."""
        best = [(price, self.asks[price]) for price in sorted(self.asks)[:CHECKSUM_LEVELS]]
        best += [(price, self.bids[price]) for price in sorted(self.bids, reverse=True)[:CHECKSUM_LEVELS]]
        text = "".join(
            _digits(price, self._price_unit) + _digits(quantity, self._quantity_unit)
            for price, (quantity, _) in best
        )
        return zlib.crc32(text.encode())

    def _verify(self, checksum: int) -> None:
        if self.checksum() != checksum:
            raise BookError(f"a wrong checksum at sequence {self.sequence}")


class Market:
    """Follows an instrument: `async for message in market` returns every message.

    `book` is up to date after each message. If the connection ends or the exchange is unavailable,
    it connects again. If the book is wrong, it subscribes again. Raises Refused if no retry helps.
    """

    def __init__(self, url: str, instrument: str, *channels: str, **options: Any) -> None:
        """`url` is the API's (http or https). `options` are fields of the subscription."""
        self.book: FollowedBook | None = None
        self.reconnects = 0
        self.doubts = 0  # How often the book differed from the exchange's.
        self._instruments_url = url + "/instruments"
        self._url = url.replace("http", "ws", 1) + "/stream"
        self._instrument = instrument
        self._sizes: tuple[Decimal, Decimal] | None = None  # Tick and lot size never change.
        self._subscription = {"channels": channels, "instrument": instrument, **options}

    async def __aiter__(self) -> AsyncIterator[Message]:
        pause = RECONNECT_SECONDS_MIN
        while True:
            try:
                async for message in self._follow():
                    if message["type"] != "subscribed":
                        pause = RECONNECT_SECONDS_MIN
                    yield message
            except (OSError, TimeoutError, WebSocketException, httpx.HTTPError):
                pass
            except Refused as error:
                if error.code in FINAL_REFUSALS:
                    raise
            self.book = None
            self.reconnects += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, RECONNECT_SECONDS_MAX)

    async def _follow(self) -> AsyncIterator[Message]:
        if self._sizes is None:
            self._sizes = await self._read_sizes()
        async with connect(self._url, max_size=None) as connection:
            subscribe = json.dumps({"type": "subscribe", **self._subscription})
            await connection.send(subscribe)
            while True:
                async with asyncio.timeout(SILENCE_SECONDS_MAX):
                    text = await connection.recv()
                message = json.loads(text, parse_float=Decimal)
                try:
                    self._update_book(message, *self._sizes)
                except BookError:
                    self.book = None
                    self.doubts += 1
                    await asyncio.sleep(RECONNECT_SECONDS_MIN)
                    await connection.send(subscribe)
                yield message

    async def _read_sizes(self) -> tuple[Decimal, Decimal]:
        """Return the instrument's tick size and lot size. Raises httpx.HTTPError, Refused."""
        async with httpx.AsyncClient(timeout=10) as http:
            page = (await http.get(self._instruments_url)).raise_for_status().json(parse_float=Decimal)
        for row in page["instruments"]:
            if row["symbol"] == self._instrument:
                return Decimal(row["tick_size"]), Decimal(row["lot_size"])
        raise Refused({"code": "instrument_not_found", "message": f"No such instrument: {self._instrument}."})

    def _update_book(self, message: Message, tick_size: Decimal, lot_size: Decimal) -> None:
        if message["type"] == "error" and message["code"] != "stale":
            raise Refused(message)
        if message["type"] == "orderbook_snapshot":
            self.book = FollowedBook(message, tick_size, lot_size)
        elif message["type"] == "orderbook_delta" and self.book is not None:
            self.book.apply(message)


class Trader:
    """Places, amends and cancels one client's orders. Repeats unanswered requests with the same keys.

    Every method raises httpx.HTTPError if the exchange refuses the request, or does not answer.
    """

    def __init__(self, url: str, client_id: str) -> None:
        self.client_id = client_id
        self._http = httpx.AsyncClient(base_url=url, timeout=10)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    async def place(
        self, instrument: str, side: str, quantity: Decimal, price: Decimal | None = None, **more: Any
    ) -> Message:
        """Place an order, and return it as it is after matching. `more` is as for `order_body`."""
        order = order_body(self.client_id, instrument, side, quantity, price, **more)
        placed: Message = _content(await self._post("/orders", order))
        return placed

    async def place_all(self, orders: list[Message]) -> list[Message]:
        """Place up to 100 orders of `order_body`. Return a result for each, in the same order.

        A result has `status`, and `order` or `error`.
        """
        results: list[Message] = _content(await self._post("/orders/batch", {"orders": orders}))["results"]
        return results

    async def amend(self, order_id: str, **changes: Any) -> Message | None:
        """Change an order's `price`, `quantity`, `expires_at` or `trigger_price`.

        Return the order, or None if it is not open any more, or the exchange refuses the change.
        """
        body = {"client_id": self.client_id, **texts(changes)}
        answer = await self._post(f"/orders/{order_id}/amend", body)
        return None if answer.status_code == httpx.codes.CONFLICT else _content(answer)

    async def amend_all(self, amends: list[Message]) -> list[Message]:
        """Change up to 100 orders. An amend has `order_id` and changes. Results as of `place_all`."""
        named = [{"client_id": self.client_id, **texts(amend)} for amend in amends]
        results: list[Message] = _content(await self._post("/orders/amend", {"amends": named}))["results"]
        return results

    async def cancel(self, order_id: str) -> bool:
        """Cancel an order. Return whether it was still open."""
        answer = await self._post(f"/orders/{order_id}/cancel", None)
        if answer.status_code == httpx.codes.CONFLICT:
            return False
        answer.raise_for_status()
        return True

    async def cancel_all(self, **which: str) -> int:
        """Cancel all open and pending orders, or those of an `instrument` or a `side`.

        Return how many were cancelled. No order that was sent before survives, answered or not.
        """
        body = {"client_id": self.client_id, **which}
        count: int = _content(await self._post("/orders/cancel", body))["cancelled_count"]
        return count

    async def cancel_after(self, seconds: int) -> None:
        """Let the exchange cancel all orders after `seconds`, unless this is called again. 0: never."""
        body = {"client_id": self.client_id, "timeout_seconds": seconds}
        _content(await self._post("/orders/cancel-after", body))

    async def find(self, key: str) -> Message | None:
        """Return the order that was placed with this idempotency key, as it is now."""
        query = {"client_id": self.client_id, "idempotency_key": key}
        orders: list[Message] = _content(await self._http.get("/orders", params=query))["orders"]
        return orders[0] if orders else None

    async def open_orders(self, instrument: str) -> list[str]:
        """Return the ids of the client's orders that rest or wait for a trigger, newest first."""
        found: list[str] = []
        query: Message = {
            "client_id": self.client_id,
            "instrument": instrument,
            "status": ["resting", "pending"],
            "limit": PAGE,
        }
        while True:
            page = _content(await self._http.get("/orders", params=query))
            found += [order["order_id"] for order in page["orders"]]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    async def time(self) -> datetime:
        """Return the exchange's time."""
        return datetime.fromisoformat(_content(await self._http.get("/time"))["time"])

    async def _post(self, path: str, body: Message | None) -> httpx.Response:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                answer = await self._http.post(path, json=body)
            except httpx.TransportError:
                if attempt == ATTEMPTS_MAX:
                    raise
                await asyncio.sleep(RECONNECT_SECONDS_MIN * attempt)
                continue
            if answer.status_code not in RETRY_STATUSES or attempt == ATTEMPTS_MAX:
                break
            await asyncio.sleep(float(answer.headers.get("Retry-After", RECONNECT_SECONDS_MIN)))
        return answer


def order_body(
    client_id: str,
    instrument: str,
    side: str,
    quantity: Decimal,
    price: Decimal | None = None,
    *,
    key: str | None = None,
    **instructions: Any,
) -> Message:
    """Return the body of a limit order, or of a market order without `price`.

    `instructions` are further fields, such as `post_only`. They may change the `type`.
    Without `key` the order gets a random idempotency key.
    """
    fields = {"quantity": quantity, **({} if price is None else {"price": price}), **instructions}
    return {
        "idempotency_key": key or str(uuid.uuid4()),
        "client_id": client_id,
        "instrument": instrument,
        "side": side,
        "type": "market" if price is None else "limit",
        **texts(fields),
    }


def texts(fields: Message) -> Message:
    """Return the fields with numbers and times as texts, so that JSON changes no digit."""
    return {name: _text(value) for name, value in fields.items()}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return format(value, "f") if isinstance(value, Decimal) else value


def _content(answer: httpx.Response) -> Any:
    """Return the JSON of an answer, with exact numbers. Raises httpx.HTTPStatusError."""
    return answer.raise_for_status().json(parse_float=Decimal)


def _levels(rows: list[Message]) -> dict[Decimal, tuple[Decimal, int]]:
    return {row["price"]: (row["quantity"], row["orders"]) for row in rows}


def _last_decimal(size: Decimal) -> Decimal:
    """Return one unit of the last decimal of a tick or lot size: 0.01 of 0.05, and 1 of 5."""
    return Decimal(1).scaleb(min(0, int(Decimal(size).normalize().as_tuple().exponent)))


def _digits(number: Decimal, unit: Decimal) -> str:
    """Return the number with all decimals of `unit`, without the point and leading zeros."""
    return format(Decimal(number).quantize(unit), "f").replace(".", "").lstrip("0")
