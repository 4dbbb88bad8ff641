"""The honest client: it sends an order every 50 ms and a cancel of each, and asks GET /livez.

Orders are due at fixed times, even if earlier ones are not answered. Latency counts from an order's
due time. So if the exchange stalls for a second, twenty orders show it, and not only one.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import NamedTuple, Self

from loadtools.connection import Caller
from loadtools.wire import Response, Target, encode_get, encode_post

_ORDER_SECONDS = 0.05
_ALIVE_SECONDS = 0.25
_ANSWER_SECONDS_MAX = 10.0
_CALLERS_MAX = 400  # So many connections are needed only if nothing is answered.
_UNANSWERED = "no answer"

INSTRUMENT = "ETH-USD"


class Sample(NamedTuple):
    """One request: its due time by the event loop's clock, its latency and its status."""

    at: float
    seconds: float
    status: str


class Honest:
    """Trades during the context. `orders`, `cancels` and `alive` have the results."""

    def __init__(self, target: Target) -> None:
        self.orders: list[Sample] = []
        self.cancels: list[Sample] = []
        self.alive: list[Sample] = []
        self._target = target
        self._idle: list[Caller] = []
        self._made = 0
        self._pacing: list[asyncio.Task[None]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        paces = (self._pace(_ORDER_SECONDS, self._trade), self._pace(_ALIVE_SECONDS, self._check_alive))
        self._pacing = [asyncio.create_task(pace) for pace in paces]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for pace in self._pacing:
            pace.cancel()
        # The last requests count, too.
        await asyncio.gather(*self._pacing, *self._calls, return_exceptions=True)
        for caller in self._idle:
            caller.close()

    async def _pace(self, seconds: float, act: Callable[[float], Coroutine[None, None, None]]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            call = asyncio.create_task(act(due))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            due += seconds
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _trade(self, due: float) -> None:
        """Place an order that rests far from the market, and cancel it."""
        number = len(self.orders)
        order = {
            "client_id": f"honest-{number % 50}",
            "instrument": INSTRUMENT,
            "side": "buy",
            "type": "limit",
            "price": str(100 + number % 100),
            "quantity": "0.01",
        }
        placed = await self._call(
            self.orders, due, encode_post(self._target, "/orders", json.dumps(order).encode())
        )
        if placed is None or placed.status != 201:
            return
        path = f"/orders/{json.loads(placed.body)['order_id']}/cancel"
        now = asyncio.get_running_loop().time()
        await self._call(self.cancels, now, encode_post(self._target, path, b"{}"))

    async def _check_alive(self, due: float) -> None:
        """Ask GET /livez on a new connection, as an operator does."""
        caller = self._make_caller()
        try:
            await self._call_on(caller, self.alive, due, encode_get(self._target, "/livez"))
        finally:
            caller.close()

    async def _call(self, samples: list[Sample], due: float, request: bytes) -> Response | None:
        if not self._idle and self._made >= _CALLERS_MAX:
            samples.append(Sample(due, _ANSWER_SECONDS_MAX, _UNANSWERED))
            return None
        if self._idle:
            caller = self._idle.pop()
        else:
            caller = self._make_caller()
            self._made += 1
        try:
            return await self._call_on(caller, samples, due, request)
        finally:
            self._idle.append(caller)

    async def _call_on(
        self, caller: Caller, samples: list[Sample], due: float, request: bytes
    ) -> Response | None:
        loop = asyncio.get_running_loop()
        response = None
        with contextlib.suppress(OSError, TimeoutError):
            response = await caller.call(request)
        status = _UNANSWERED if response is None else str(response.status)
        samples.append(Sample(due, loop.time() - due, status))
        return response

    def _make_caller(self) -> Caller:
        return Caller(self._target, answer_timeout_seconds=_ANSWER_SECONDS_MAX)
