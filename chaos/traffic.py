"""Clients that keep trading whatever happens, and retry until they know each order's result.

- An order with a key is retried with the same key until it is acknowledged. Sometimes two requests
  with the same key are sent at once.
- An order without a key is sent once, by a client of its own, so that it can be found in the
  database.
- Orders are amended and cancelled, alone or all of a client's orders for an instrument. A dead man's
  switch is set now and then.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import NamedTuple
from uuid import UUID

import msgspec

from chaos.breaches import Kind
from chaos.client_log import ClientLog
from chaos.journal import ClientOrder
from chaos.orders import MIDDLE_PRICES, QUANTITY_MAX, Document, new_order
from loadtools.connection import Caller, ConnectError
from loadtools.tasks import run_beside
from loadtools.wire import Target, encode_post

REQUESTS_PER_CLIENT_AND_SECOND = 5
_ANSWER_SECONDS_MAX = 10.0  # Longer than the exchange needs to answer 504.
_FINISH_SECONDS_MAX = 60.0  # Time for unanswered requests at the end, with a healthy exchange.

_CANCEL_SHARE = 0.2
ONCE_SHARE = 0.2  # Of the orders.
DUPLICATE_SHARE = 0.1  # Share of the requests with a key.
_AMEND_SHARE = 0.1
_MASS_SHARE = 0.01  # Share of the mass cancels, and of the dead man's switches.
_SWITCH_SECONDS = (0, 5, 60)
_RESTING_MAX = 50  # Orders that a client remembers to cancel.

ONCE_PREFIX = "once-"  # Prefix of clients that send one order without a key.
_PLACED_STATUSES = (200, 201)
_RETRIED_STATUSES = (503, 504)


class Answer(NamedTuple):
    """An answer. `status` is None if there was none, or if the request could not be sent."""

    status: int | None
    body: bytes
    sent_at: float
    reached: bool  # Whether the exchange may have received the request.

    @property
    def is_unclear(self) -> bool:
        """Whether a client should retry."""
        return self.status is None or self.status in _RETRIED_STATUSES


class TradingClient:
    """One client. It sends one request after the other at its own rate."""

    def __init__(self, number: int, *, seed: int, rate: float, target: Target, client_log: ClientLog) -> None:
        self._number = number
        self._random = Random(f"{seed}-{number}")
        self._interval_seconds = 1 / rate
        self._target = target
        self._client_log = client_log
        self._callers = [Caller(target, answer_timeout_seconds=_ANSWER_SECONDS_MAX) for _ in range(2)]
        self._resting: deque[UUID] = deque(maxlen=_RESTING_MAX)
        self._orders = 0
        self._due = 0.0
        self.stopping = False

    async def run(self) -> None:
        """Trade until `stopping` is set and the results of all requests are known."""
        self._due = asyncio.get_running_loop().time() + self._random.random() * self._interval_seconds
        try:
            while not self.stopping:
                await self._send_next()
        finally:
            for caller in self._callers:
                caller.close()

    async def _send_next(self) -> None:
        random = self._random
        draw = random.random() - _CANCEL_SHARE
        if draw < 0 and self._resting:
            self._resting.rotate(random.randrange(len(self._resting)))
            await self._cancel(self._resting.pop())
        elif 0 <= draw < _AMEND_SHARE and self._resting:
            await self._amend(random.choice(self._resting))
        elif 0 <= draw - _AMEND_SHARE < _MASS_SHARE:
            instrument = random.choice(tuple(MIDDLE_PRICES))
            await self._change_all("/orders/cancel", {"instrument": instrument})
        elif 0 <= draw - _AMEND_SHARE - _MASS_SHARE < _MASS_SHARE:
            await self._change_all(
                "/orders/cancel-after", {"timeout_seconds": random.choice(_SWITCH_SECONDS)}
            )
        elif random.random() < ONCE_SHARE:
            await self._place_once()
        else:
            await self._place()

    async def _place(self) -> None:
        body = self._new_order(f"chaos-{self._number}", key=f"{self._orders}")
        while True:
            copies = 2 if self._random.random() < DUPLICATE_SHARE else 1
            answers = await self._send_copies("/orders", body, copies)
            orders = [self._record_order(answer) for answer in answers if answer.status in _PLACED_STATUSES]
            retries = [
                self._should_retry(answer) for answer in answers if answer.status not in _PLACED_STATUSES
            ]
            if orders:
                self._client_log.counts["acknowledged"] += 1
                self._remember(orders[0])
                return
            if not all(retries):
                return
            self._client_log.counts["retried"] += 1

    async def _place_once(self) -> None:
        client_id = f"{ONCE_PREFIX}{self._number}-{self._orders}"
        (answer,) = await self._send_copies("/orders", self._new_order(client_id, key=None), 1)
        if answer.status in _PLACED_STATUSES:
            self._client_log.counts["acknowledged"] += 1
            self._remember(self._record_order(answer))
        elif answer.status == 503 or not answer.reached:
            self._client_log.counts["refused"] += 1
            self._client_log.refused(client_id)
        elif self._should_retry(answer):
            self._client_log.counts["unknown"] += 1

    async def _cancel(self, order_id: UUID) -> None:
        while True:
            (answer,) = await self._send_copies(f"/orders/{order_id}/cancel", b"", 1)
            if answer.status == 200:
                self._client_log.counts["cancelled"] += 1
                self._client_log.cancelled(order_id)
                return
            if answer.status == 409:
                self._client_log.not_open(order_id)
                return
            if not self._should_retry(answer):
                return
            self._client_log.counts["retried"] += 1

    async def _amend(self, order_id: UUID) -> None:
        """Amend an order's quantity. The amend says the new one, so it may be repeated."""
        body = msgspec.json.encode({"quantity": self._random.randint(1, QUANTITY_MAX)})
        while True:
            (answer,) = await self._send_copies(f"/orders/{order_id}/amend", body, 1)
            if answer.status == 200:
                self._client_log.counts["amended"] += 1
                self._record_order(answer)
                return
            if answer.status == 409 or not self._should_retry(answer):
                return
            self._client_log.counts["retried"] += 1

    async def _change_all(self, path: str, change: Document) -> None:
        """Cancel many orders of this client, now or later, until the exchange has done it."""
        body = msgspec.json.encode({"client_id": f"chaos-{self._number}", **change})
        while True:
            (answer,) = await self._send_copies(path, body, 1)
            if answer.status == 200:
                self._client_log.counts["mass cancels and switches"] += 1
                return
            if not self._should_retry(answer):
                return
            self._client_log.counts["retried"] += 1

    async def _send_copies(self, path: str, body: bytes, copies: int) -> list[Answer]:
        """Send copies of a request at once when they are due. Missed times are not made up for."""
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
        self._client_log.counts["requests"] += 1
        try:
            response = await caller.call(request)
        except ConnectError:
            return Answer(None, b"", sent_at, reached=False)
        except (ConnectionError, TimeoutError):
            return Answer(None, b"", sent_at, reached=True)
        return Answer(response.status, response.body, sent_at, reached=True)

    def _record_order(self, answer: Answer) -> ClientOrder | None:
        return self._client_log.placed(answer.body, sent_at=answer.sent_at, is_new=answer.status == 201)

    def _remember(self, order: ClientOrder | None) -> None:
        if order is not None and order.status in ("pending", "open", "partially_filled"):
            self._resting.append(order.order_id)

    def _should_retry(self, answer: Answer) -> bool:
        """Return whether to retry. Record answers that the API does not allow."""
        if not answer.is_unclear:
            text = answer.body[:300].decode(errors="replace")
            self._client_log.breaches.add(Kind.ANSWER, f"client {self._number}: {answer.status} {text}")
        return answer.is_unclear

    def _new_order(self, client_id: str, key: str | None) -> bytes:
        self._orders += 1
        return msgspec.json.encode(new_order(self._random, client_id, key))


class Traffic:
    """Enough clients to send `rate` requests per second in all."""

    def __init__(self, target: Target, *, rate: int, seed: int, client_log: ClientLog) -> None:
        self._client_log = client_log
        clients = max(1, rate // REQUESTS_PER_CLIENT_AND_SECOND)
        self._traders = [
            TradingClient(number, seed=seed, rate=rate / clients, target=target, client_log=client_log)
            for number in range(clients)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the clients during the block."""
        async with run_beside(*(trader.run() for trader in self._traders)) as self._tasks:
            yield

    async def finish(self) -> None:
        """Stop the clients, and wait until they know the results of all their requests."""
        for trader in self._traders:
            trader.stopping = True
        _, pending = await asyncio.wait(self._tasks, timeout=_FINISH_SECONDS_MAX)
        for task in self._tasks:
            if task in pending:
                self._client_log.breaches.add(
                    Kind.UNRESOLVED, f"a request without an outcome after {_FINISH_SECONDS_MAX:.0f} s"
                )
            else:
                task.result()  # Raises the exception of a failed client.
