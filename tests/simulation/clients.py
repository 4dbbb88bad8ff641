"""Clients: they send requests, repeat them until the outcome is known, and note the answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from base.refusals import NotFound, OutcomeUnknown, Unavailable
from instruments.directory import TradedInstrument
from orders.refusals import OrderNotOpen
from orders.requests import OrderRequest
from tests.simulation.database import GRID
from tests.simulation.process import ProcessDied
from tests.simulation.processes import ApiProcess

PATIENCE_SECONDS = 6.0
PAUSE_SECONDS_MAX = 0.4
MIDDLE_TICKS = 1_000
AWAY_TICKS = 4
QUANTITY_LOTS_MAX = 20


_decoder = msgspec.json.Decoder(float_hook=Decimal)


@dataclass
class ClientKnowledge:
    """Outcomes that clients know from answers. The ids are those of orders."""

    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    refused_clients: set[str] = field(default_factory=set)  # their only order was not processed


class SimulatedClient:
    """Sends requests one by one. Repeats a request with a key until its outcome is known."""

    def __init__(
        self, number: int, random: Random, choose: Callable[[], ApiProcess | None], knowledge: ClientKnowledge
    ) -> None:
        self._number = number
        self._random = random
        self._choose = choose
        self._knowledge = knowledge
        self._orders: list[str] = []

    async def run(self, requests: int, instruments: list[TradedInstrument]) -> None:
        for count in range(requests):
            await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))
            if self._orders and self._random.random() < 0.3:
                await self._cancel(self._orders.pop(self._random.randrange(len(self._orders))))
            elif self._random.random() < 0.25:
                await self._place_without_key(self._request(instruments, f"u{self._number}-{count}", None))
            else:
                await self._place(self._request(instruments, f"c{self._number}", f"key-{count}"))

    def _request(self, instruments: list[TradedInstrument], client_id: str, key: str | None) -> OrderRequest:
        random = self._random
        market = random.random() < 0.2
        price_ticks = MIDDLE_TICKS + random.randint(-AWAY_TICKS, AWAY_TICKS)
        return OrderRequest(
            client_id=client_id,
            instrument=random.choice(instruments),
            side=random.choice(("buy", "sell")),
            order_type="market" if market else "limit",
            price=None if market else Decimal(GRID.price.text(price_ticks)),
            quantity=Decimal(GRID.quantity.text(random.randint(1, QUANTITY_LOTS_MAX))),
            idempotency_key=key,
        )

    async def _place(self, request: OrderRequest) -> None:
        while True:
            twice = self._random.random() < 0.1
            answers = await asyncio.gather(*(self._ask_to_place(request) for _ in range(1 + twice)))
            bodies = [answer.body for answer in answers if answer is not None]
            for body in bodies:
                self._acknowledge(body)
            if len(bodies) == len(answers):
                return
            await self._pause()

    async def _ask_to_place(self, request: OrderRequest) -> Any:
        try:
            return await self._ask(lambda api: api.desk.place(request))
        except (Unavailable, OutcomeUnknown):
            return None

    async def _place_without_key(self, request: OrderRequest) -> None:
        try:
            answer = await self._ask(lambda api: api.desk.place(request))
        except Unavailable:
            self._knowledge.refused_clients.add(request.client_id)
        except OutcomeUnknown:
            return
        else:
            if answer is not None:
                self._acknowledge(answer.body)

    async def _cancel(self, order_id: str) -> None:
        while True:
            try:
                answer = await self._ask(lambda api: api.desk.cancel_by_id(UUID(order_id), owner=None))
            except OrderNotOpen:
                return
            except NotFound as error:
                raise AssertionError(f"order {order_id} was acknowledged and is unknown") from error
            except (Unavailable, OutcomeUnknown):
                answer = None
            if answer is not None:
                self._knowledge.cancelled.add(order_id)
                return
            await self._pause()

    def _acknowledge(self, body: bytes) -> None:
        order = _decoder.decode(body)
        self._knowledge.acknowledged.append(order)
        if order["status"] in ("open", "partially_filled"):
            self._orders.append(order["order_id"])

    async def _ask(self, request: Callable[[ApiProcess], Any]) -> Any:
        """Return the answer, or None if the process died or took too long."""
        api = self._choose()
        if api is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await api.serve(lambda: request(api))
        except (TimeoutError, ProcessDied):
            return None

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))
