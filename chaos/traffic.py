"""Clients that go on whatever happens to the exchange: they ask until they know what became of each order.

An order with a key is sent again, with the same key, until it is acknowledged; sometimes two requests with that key
go out at once. An order without a key is sent once, by a client of its own, so that it can be found, or must not
be. Prices lie on few levels, so that a snapshot shows a whole book; enough orders rest for cancels to find some.
"""

import asyncio
from collections import deque
from random import Random
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

import msgspec

from chaos.breaches import Kind
from chaos.journal import Order
from chaos.told import Told
from loadtools.connection import Caller, ConnectError
from loadtools.wire import Target, encode_post

REQUESTS_PER_CLIENT_AND_SECOND = 5
CONNECT_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 10.0  # longer than the exchange takes to answer 504
FINISH_SECONDS_MAX = 60.0  # for what is still to be resolved when the exchange is well again

CANCEL_SHARE = 0.25
ONCE_SHARE = 0.15
DUPLICATE_SHARE = 0.1  # of the requests with a key
MARKET_SHARE = 0.2
MIDDLE_PRICES = {"BTC-USD": 70_000, "ETH-USD": 3_500}
LEVELS_AWAY = 20  # from the middle, on an order's own side
LEVELS_ACROSS = 5  # and on the other: what is priced there trades
QUANTITY_MAX = 9
RESTING_MAX = 50  # orders that a client remembers, to cancel them

ONCE_PREFIX = "once-"  # of clients that send one order, without a key
TAKEN = (200, 201)
ASK_AGAIN = (503, 504)


class Answer(NamedTuple):
    """`status` is None where nobody answered, or nobody could be asked."""

    status: int | None
    body: bytes
    sent_at: float
    reached: bool  # whether the exchange may have heard the request

    @property
    def is_unclear(self) -> bool:
        """Whether asking again is what a client should do."""
        return self.status is None or self.status in ASK_AGAIN


class Trader:
    """One client: one request after the other, at its own pace."""

    def __init__(self, number: int, *, seed: int, rate: float, target: Target, told: Told) -> None:
        self._number = number
        self._random = Random(f"{seed}-{number}")
        self._interval_seconds = 1 / rate
        self._target = target
        self._told = told
        self._callers = [
            Caller(
                target,
                connect_timeout_seconds=CONNECT_SECONDS_MAX,
                answer_timeout_seconds=ANSWER_SECONDS_MAX,
            )
            for _ in range(2)
        ]
        self._resting: deque[UUID] = deque(maxlen=RESTING_MAX)
        self._orders = 0
        self._due = 0.0
        self.stopping = False

    async def run(self) -> None:
        """Until it is to stop and knows of all that it has begun."""
        self._due = asyncio.get_running_loop().time() + self._random.random() * self._interval_seconds
        try:
            while not self.stopping:
                await self._next()
        finally:
            for caller in self._callers:
                caller.close()

    async def _next(self) -> None:
        draw = self._random.random()
        if draw < CANCEL_SHARE and self._resting:
            self._resting.rotate(self._random.randrange(len(self._resting)))
            await self._cancel(self._resting.pop())
        elif draw > 1 - ONCE_SHARE:
            await self._place_once()
        else:
            await self._place()

    async def _place(self) -> None:
        body = self._new_order(f"chaos-{self._number}", key=f"{self._orders}")
        while True:
            copies = 2 if self._random.random() < DUPLICATE_SHARE else 1
            answers = await self._ask("/orders", body, copies)
            orders = [self._acknowledged(answer) for answer in answers if answer.status in TAKEN]
            asks_again = [self._asks_again(answer) for answer in answers if answer.status not in TAKEN]
            if orders:
                self._told.counts["acknowledged"] += 1
                self._remember(orders[0])
                return
            if not all(asks_again):
                return
            self._told.counts["retried"] += 1

    async def _place_once(self) -> None:
        client_id = f"{ONCE_PREFIX}{self._number}-{self._orders}"
        (answer,) = await self._ask("/orders", self._new_order(client_id, key=None), 1)
        if answer.status in TAKEN:
            self._told.counts["acknowledged"] += 1
            self._remember(self._acknowledged(answer))
        elif answer.status == 503 or not answer.reached:
            self._told.counts["refused"] += 1
            self._told.refused(client_id)
        elif self._asks_again(answer):
            self._told.counts["unknown"] += 1

    async def _cancel(self, order_id: UUID) -> None:
        while True:
            (answer,) = await self._ask(f"/orders/{order_id}/cancel", b"", 1)
            if answer.status == 200:
                self._told.counts["cancelled"] += 1
                self._told.cancelled(order_id)
                return
            if answer.status == 409:
                self._told.not_open(order_id)
                return
            if not self._asks_again(answer):
                return
            self._told.counts["retried"] += 1

    async def _ask(self, path: str, body: bytes, copies: int) -> list[Answer]:
        """Send so many copies of a request at once, when it is time to; what was missed is not caught up with."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now)
        await asyncio.sleep(self._due - now)
        self._due += copies * self._interval_seconds
        request = encode_post(self._target, path, body)
        if copies == 1:
            return [await self._call(self._callers[0], request)]
        return await asyncio.gather(*(self._call(caller, request) for caller in self._callers))

    async def _call(self, caller: Caller, request: bytes) -> Answer:
        sent_at = asyncio.get_running_loop().time()
        self._told.counts["requests"] += 1
        try:
            response = await caller.call(request)
        except ConnectError:
            return Answer(None, b"", sent_at, reached=False)
        except (ConnectionError, TimeoutError):
            return Answer(None, b"", sent_at, reached=True)
        return Answer(response.status, response.body, sent_at, reached=True)

    def _acknowledged(self, answer: Answer) -> Order | None:
        return self._told.placed(answer.body, sent_at=answer.sent_at, is_new=answer.status == 201)

    def _remember(self, order: Order | None) -> None:
        if order is not None and order.status in ("open", "partially_filled"):
            self._resting.append(order.order_id)

    def _asks_again(self, answer: Answer) -> bool:
        """Whether to; an answer that a client can't expect is noted."""
        if not answer.is_unclear:
            text = answer.body[:300].decode(errors="replace")
            self._told.breaches.add(Kind.ANSWER, f"client {self._number}: {answer.status} {text}")
        return answer.is_unclear

    def _new_order(self, client_id: str, key: str | None) -> bytes:
        random = self._random
        self._orders += 1
        instrument = random.choice(tuple(MIDDLE_PRICES))
        side, sign = random.choice((("buy", 1), ("sell", -1)))
        order: dict[str, str | int] = {
            "client_id": client_id,
            "instrument": instrument,
            "side": side,
            "type": "limit",
            "quantity": random.randint(1, QUANTITY_MAX),
        }
        if key is not None:
            order["idempotency_key"] = key
        if random.random() < MARKET_SHARE:
            order["type"] = "market"
        else:
            order["price"] = MIDDLE_PRICES[instrument] + sign * random.randint(-LEVELS_AWAY, LEVELS_ACROSS)
        return msgspec.json.encode(order)


class Traffic:
    """As many clients as it takes to send `rate` requests a second together, while the block runs."""

    def __init__(self, target: Target, *, rate: int, seed: int, told: Told) -> None:
        self._told = told
        clients = max(1, rate // REQUESTS_PER_CLIENT_AND_SECOND)
        self._traders = [
            Trader(number, seed=seed, rate=rate / clients, target=target, told=told)
            for number in range(clients)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(trader.run()) for trader in self._traders]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Begin nothing new, and wait until every client knows of all that it has begun."""
        for trader in self._traders:
            trader.stopping = True
        _, pending = await asyncio.wait(self._tasks, timeout=FINISH_SECONDS_MAX)
        for task in self._tasks:
            if task in pending:
                self._told.breaches.add(
                    Kind.UNRESOLVED, f"a request without an outcome after {FINISH_SECONDS_MAX:.0f} s"
                )
            else:
                task.result()  # raises what a client has died of
