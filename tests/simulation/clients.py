"""Clients: they send requests, repeat them until the outcome is known, and note the answers."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from base.refusals import NotFound, OutcomeUnknown, Refusal, Unavailable
from instruments.choices import TRIGGER_TYPES, SelfTradePrevention
from instruments.directory import TradedInstrument
from orders.desk.parts import result_or_refusal
from orders.refusals import OrderNotOpen
from orders.requests import AmendOne, AmendRequest, OrderRequest
from tests.simulation.breaches import require
from tests.simulation.process import ProcessDied
from tests.simulation.processes import ApiProcess, time_after
from tests.simulation.rows import GRID

PATIENCE_SECONDS = 6.0
PAUSE_SECONDS_MAX = 0.4
MIDDLE_TICKS = 1_000
AWAY_TICKS = 3
QUANTITY_LOTS_MAX = 20
EXPIRY_SECONDS_MAX = 4.0
TIMEOUT_SECONDS_MAX = 3  # of a dead man's switch

# How often each kind of request is chosen, and each type of order.
CANCEL_SHARE, AMEND_SHARE, CANCEL_ALL_SHARE, CANCEL_AFTER_SHARE = 0.15, 0.2, 0.04, 0.08
TYPES = ("limit",) * 7 + ("market",) * 2 + TRIGGER_TYPES
TIMES_IN_FORCE = ("gtc",) * 5 + ("gtd",) * 5 + ("ioc", "fok")
KEYLESS_SHARE = 0.35  # of requests to place, which have one order then
ORDERS_TOGETHER_MAX = 4


_decoder = msgspec.json.Decoder(float_hook=Decimal)


class AcknowledgedSwitch(NamedTuple):
    """A client's dead man's switch, and the orders that were acknowledged before it was set."""

    cancel_at: datetime | None
    covered: list[str]


@dataclass
class ClientKnowledge:
    """Outcomes that clients know from answers. The ids are those of orders."""

    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    amended: dict[str, dict[str, Any]] = field(default_factory=dict)  # the last acknowledged state
    amends_sent: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)  # were acknowledged before a mass cancel
    switches: defaultdict[str, list[AcknowledgedSwitch]] = field(default_factory=lambda: defaultdict(list))
    switches_sent: Counter[str] = field(default_factory=Counter)  # by client, like the line above
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
        self._client_id = f"c{number}"
        self._orders: list[dict[str, Any]] = []  # those that may be live

    async def run(self, requests: int, instruments: list[TradedInstrument]) -> None:
        for count in range(requests):
            await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))
            await self._send_one(count, instruments)

    async def _send_one(self, count: int, instruments: list[TradedInstrument]) -> None:
        random = self._random
        dice = random.random()
        if dice < CANCEL_ALL_SHARE:
            side = random.choice((None, None, "buy", "sell"))
            return await self._cancel_all(random.choice([None, *instruments]), side)
        dice -= CANCEL_ALL_SHARE
        if dice < CANCEL_AFTER_SHARE:
            return await self._cancel_after(random.randint(0, TIMEOUT_SECONDS_MAX))
        dice -= CANCEL_AFTER_SHARE
        if self._orders and dice < CANCEL_SHARE:
            return await self._cancel(self._choose_orders())
        dice -= CANCEL_SHARE
        if self._orders and dice < AMEND_SHARE:
            return await self._amend(self._choose_orders())
        if random.random() < KEYLESS_SHARE:
            return await self._place_without_key(self._request(instruments, f"u{self._number}-{count}", None))
        orders = random.randint(1, ORDERS_TOGETHER_MAX)
        return await self._place(
            [self._request(instruments, self._client_id, f"key-{count}-{number}") for number in range(orders)]
        )

    def _price(self) -> Decimal:
        ticks = MIDDLE_TICKS + self._random.randint(-AWAY_TICKS, AWAY_TICKS)
        return Decimal(GRID.price.text(ticks))

    def _quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self._random.randint(1, QUANTITY_LOTS_MAX)))

    def _request(self, instruments: list[TradedInstrument], client_id: str, key: str | None) -> OrderRequest:
        random = self._random
        order_type = random.choice(TYPES)
        has_price = order_type.endswith("limit")
        time_in_force = random.choice(TIMES_IN_FORCE) if has_price else "ioc"
        prevention = random.choice((None, None, *SelfTradePrevention.values))
        return OrderRequest(
            client_id=client_id,
            instrument=random.choice(instruments),
            side=random.choice(("buy", "sell")),
            order_type=str(order_type),
            price=self._price() if has_price else None,
            quantity=self._quantity(),
            idempotency_key=key,
            time_in_force=time_in_force,
            expires_at=(
                time_after(random.uniform(0, EXPIRY_SECONDS_MAX)) if time_in_force == "gtd" else None
            ),
            post_only=time_in_force in ("gtc", "gtd") and random.random() < 0.1,
            self_trade_prevention=None if prevention is None else str(prevention),
            trigger_price=self._price() if order_type in TRIGGER_TYPES else None,
        )

    async def _place(self, requests: list[OrderRequest]) -> None:
        """Place one order, at times in two requests at once, or several orders with one request."""
        while True:
            twice = self._random.random() < 0.1
            answers = await asyncio.gather(*(self._ask_to_place(requests) for _ in range(1 + twice)))
            results = [result for answer in answers for result in answer]
            for result in results:
                if not isinstance(result, Refusal):
                    self._acknowledge(result.body)
            if results and not any(isinstance(result, Refusal) for result in results):
                return
            await self._pause()

    async def _ask_to_place(self, requests: list[OrderRequest]) -> list[Any]:
        """Return the result or the refusal of each order."""
        unknown = [OutcomeUnknown() for _ in requests]
        if len(requests) > 1:
            return await self._ask(lambda api: api.desk.place_many(requests)) or unknown
        try:
            answer = await self._ask(lambda api: api.desk.place(requests[0]))
        except (Unavailable, OutcomeUnknown) as refusal:
            return [refusal]
        return unknown if answer is None else [answer]

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

    def _choose_orders(self) -> list[dict[str, Any]]:
        """Return some of the orders that may be live."""
        count = self._random.randint(1, ORDERS_TOGETHER_MAX)
        return self._random.sample(self._orders, min(count, len(self._orders)))

    async def _cancel(self, orders: list[dict[str, Any]]) -> None:
        """Cancel one order, or several with one request."""
        order, order_ids = orders[0], [UUID(order["order_id"]) for order in orders]
        self._orders = [other for other in self._orders if other not in orders]
        if len(orders) > 1:
            answer = await self._repeat("orders", lambda api: api.desk.cancel_by_ids(order_ids, owner=None))
        elif order["idempotency_key"] is not None and self._random.random() < 0.5:
            name = order["client_id"], order["idempotency_key"]
            answer = await self._repeat("an order", lambda api: api.desk.cancel_by_key(*name))
        else:
            if await self._repeat("an order", lambda api: api.desk.cancel_by_id(order_ids[0], owner=None)):
                self._knowledge.cancelled.add(order["order_id"])
            return
        require(not answer.not_found, f"{answer.not_found}: were acknowledged and are unknown")
        self._knowledge.cancelled.update(answer.cancelled)

    async def _amend(self, orders: list[dict[str, Any]]) -> None:
        """Amend one order, or several with one request."""
        amends = [self._amend_of(order) for order in orders]
        while True:
            results = await self._ask(lambda api: self._send_amends(api, orders, amends)) or []
            for order, result in zip(orders, results, strict=False):
                require(not isinstance(result, NotFound), f"{order['order_id']}: acknowledged and unknown")
                if not isinstance(result, Refusal):
                    self._knowledge.amended[order["order_id"]] = _decoder.decode(result.body)
                    self._acknowledge(result.body)
            if results and not any(isinstance(result, (Unavailable, OutcomeUnknown)) for result in results):
                return
            await self._pause()

    def _amend_of(self, order: dict[str, Any]) -> AmendOne:
        random = self._random
        changes: list[dict[str, Any]] = [
            {"quantity": self._quantity()},
            {"price": self._price()},
            {"price": self._price(), "quantity": self._quantity()},
            {"trigger_price": self._price()},
            {"expires_at": time_after(random.uniform(0, EXPIRY_SECONDS_MAX))},
        ]
        client_id, key = order["client_id"], order["idempotency_key"]
        if key is not None and random.random() < 0.2:
            return AmendOne(
                None, (client_id, key), AmendRequest(client_id=client_id, **random.choice(changes))
            )
        request = AmendRequest(client_id=random.choice((None, client_id)), **random.choice(changes))
        return AmendOne(UUID(order["order_id"]), None, request)

    async def _send_amends(
        self, api: ApiProcess, orders: list[dict[str, Any]], amends: list[AmendOne]
    ) -> list[Any]:
        """Return the result or the refusal of each amend."""
        self._knowledge.amends_sent.update(order["order_id"] for order in orders)
        if len(amends) > 1:
            return await api.desk.amend_many(amends)
        return [await result_or_refusal(api.desk.amend_one(amends[0]))]

    async def _cancel_all(self, instrument: TradedInstrument | None, side: str | None) -> None:
        client_id = self._client_id
        mine = [
            order["order_id"]
            for order in self._orders
            if order["client_id"] == client_id
            and (instrument is None or order["instrument"] == instrument.symbol)
            and side in (None, order["side"])
        ]
        answer = await self._repeat(
            client_id, lambda api: api.desk.cancel_all(client_id, instrument=instrument, side=side)
        )
        require(answer.cancelled_count >= len(answer.cancelled), f"{client_id}: wrong count of cancels")
        self._knowledge.cancelled.update(answer.cancelled)
        self._knowledge.ended.update(mine)

    async def _cancel_after(self, seconds: int) -> None:
        client_id, knowledge = self._client_id, self._knowledge
        covered = [order["order_id"] for order in self._orders if order["client_id"] == client_id]

        def send(api: ApiProcess) -> Any:
            knowledge.switches_sent[client_id] += 1
            return api.desk.cancel_after(client_id, seconds)

        answer = await self._repeat(client_id, send)
        knowledge.switches[client_id].append(AcknowledgedSwitch(answer.cancel_at, covered))

    async def _repeat(self, what: str, request: Callable[[ApiProcess], Any]) -> Any:
        """Send a request until its outcome is known. Returns the answer, or None if it was refused."""
        while True:
            try:
                answer = await self._ask(request)
            except OrderNotOpen:
                return None
            except NotFound as error:
                raise AssertionError(f"{what} was acknowledged and is unknown") from error
            except (Unavailable, OutcomeUnknown):
                answer = None
            if answer is not None:
                return answer
            await self._pause()

    def _acknowledge(self, body: bytes) -> None:
        order = _decoder.decode(body)
        self._knowledge.acknowledged.append(order)
        self._orders = [one for one in self._orders if one["order_id"] != order["order_id"]]
        if order["status"] in ("pending", "open", "partially_filled"):
            self._orders.append(order)

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
