"""Orders, amends and cancels that a client sends on /stream.

They go through the same desk as those of REST, with the same refusals and the same idempotency.
A client need not wait for a result before it sends the next request. What a connection sends enters
each partition's stream in that order. So while the order of a request is looked up in the database,
the connection's later requests wait for it. Results come in any order, each with the request's id.

With `cancel_on_disconnect` the connection gets a guard: see orders/guards/.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings

from base.encoding import encode_json
from base.refusals import InvalidRequest, Refusal, RefusalKind
from base.times import time_text
from instruments.refusals import InstrumentHalted
from orders.answers import cancelled_document, result_json, results_json
from orders.desk import MassCancelResult, OrderDesk, OrderResult, current_desk
from orders.guards import Guard, current_keeper
from orders.reading import (
    cancel_after,
    cancel_on_disconnect,
    cancel_one,
    cancel_orders,
    read_amend_one,
    read_amends,
    read_instrument,
    read_order,
    read_orders,
)
from orders.requests import OrderRequest
from streaming.packet import Packet, packets_of
from streaming.requests import EntryRequest

# The id of a request may have numbers, which were read as Decimals.
_encode_id = msgspec.json.Encoder(decimal_format="number").encode

Answer = Callable[[], Coroutine[Any, Any, bytes]]


class TooManyOnTheWay(Refusal):
    """The client has too many orders on the stream that are not answered yet."""

    kind = RefusalKind.RATE_LIMITED
    code = "rate_limited"
    default_message = (
        f"At most {settings.STREAM_ORDERS_ON_THE_WAY_MAX} orders, amends and cancels of a connection may be "
        "on their way. Wait for results."
    )


class Work(NamedTuple):
    """A checked request: how many orders it is about, and what carries it out.

    `answer` returns the rest of the result as JSON. A request that is refused before never calls it.
    If it `looks_up`, it reads the database before anything enters a partition's stream.
    """

    orders: int
    answer: Answer
    looks_up: bool = False


class OrderEntry:
    """The orders of one connection.

    `put` sends a packet to the client. `count_message` counts a request that was refused before it
    reached the gateway against the connection's limit of messages. `guard` is the connection's, and
    `watch_peer` is called when it is armed.
    """

    def __init__(
        self,
        put: Callable[[Packet], None],
        count_message: Callable[[], object],
        *,
        guard: Guard,
        watch_peer: Callable[[], object],
    ) -> None:
        self._put = put
        self._count_message = count_message
        self._guard = guard
        self._watch_peer = watch_peer
        self._desk: OrderDesk | None = None  # made for the first request
        self._on_the_way = 0
        self._gathered: list[tuple[EntryRequest, OrderRequest]] = []  # orders to be placed together
        self._looking_up: asyncio.Task[None] | None = None
        self._behind: deque[Callable[[], None]] = deque()  # begin requests that wait for `_looking_up`
        self._results: list[str] = []  # results to be sent together
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, request: EntryRequest) -> None:
        """Check a request and hand it to the desk. Its result is sent later."""
        try:
            if request.kind == "place_order":
                order = await read_order(_only(request.fields, "order"))
                self._admit(1)
                self._begin(lambda: self._gather(request, order))
                return
            work = await self._check(request)
            self._admit(work.orders)
        except Refusal as refusal:
            self._count_message()
            self._send(_result_text(request, _fields(refusal)))
            return
        self._begin(lambda: self._answer_soon(request, work))

    def _begin(self, begin: Callable[[], None]) -> None:
        """Begin a request now, or after the request whose order is being looked up."""
        if self._looking_up is None:
            begin()
        else:
            self._behind.append(begin)

    def _answer_soon(self, request: EntryRequest, work: Work) -> None:
        self._place_gathered()  # These orders came first.
        task = self._start(self._answer(request, work))
        if work.looks_up:
            self._looking_up = task
            task.add_done_callback(self._end_look_up)

    def _end_look_up(self, _: asyncio.Task[None]) -> None:
        self._looking_up = None
        while self._behind and self._looking_up is None:
            self._behind.popleft()()

    def _admit(self, orders: int) -> None:
        """Count orders as on their way. Raises TooManyOnTheWay."""
        if self._on_the_way + orders > settings.STREAM_ORDERS_ON_THE_WAY_MAX:
            raise TooManyOnTheWay
        self._on_the_way += orders

    def _start(self, answer: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(answer, name="stream-order")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _gather(self, request: EntryRequest, order: OrderRequest) -> None:
        """Place an order together with those that arrived with it, which share its costs."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._place_gathered)
        self._gathered.append((request, order))

    def _place_gathered(self) -> None:
        """Begin to place the gathered orders. No partition waits for another."""
        by_partition: defaultdict[int, list[tuple[EntryRequest, OrderRequest]]] = defaultdict(list)
        for request, order in self._gathered:
            by_partition[order.instrument.partition].append((request, order))
        self._gathered.clear()
        for orders in by_partition.values():
            self._start(self._place(orders))

    def close(self) -> None:
        """Wait for no more results. What was handed to the gateway may still be carried out."""
        self.end_guard()
        self._behind.clear()
        self._place_gathered()
        # The tasks have their first step before this, in which they hand their orders over.
        asyncio.get_running_loop().call_soon(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def end_guard(self) -> None:
        """Begin to cancel the orders that are guarded, because the connection ends."""
        self._guard.has_ended = True
        if self._guard.sent_to:
            current_keeper().end(self._guard)

    async def wait_for_end(self) -> None:
        """Wait a bounded time until the guard has ended."""
        if self._guard.sent_to:
            await current_keeper().wait_for_end(self._guard)

    async def _answer(self, request: EntryRequest, work: Work) -> None:
        try:
            rest = await work.answer()
        except Refusal as refusal:
            rest = self._refused(refusal)
        finally:
            self._on_the_way -= work.orders
        self._send(_result_text(request, rest))

    async def _place(self, orders: list[tuple[EntryRequest, OrderRequest]]) -> None:
        try:
            results = await self._own_desk().place_many([order for _, order in orders])
        finally:
            self._on_the_way -= len(orders)
        for (request, _), result in zip(orders, results, strict=True):
            rest = self._refused(result) if isinstance(result, Refusal) else _fields(result, 201)
            self._send(_result_text(request, rest))

    def _send(self, result: str) -> None:
        """Send a result in one packet with those that are ready at the same time."""
        if not self._results:
            asyncio.get_running_loop().call_soon(self._send_results)
        self._results.append(result)

    def _send_results(self) -> None:
        results, self._results = self._results, []
        for packet in packets_of(results):
            self._put(packet)

    def _refused(self, refusal: Refusal) -> bytes:
        """Return the result of a refused request, which counts as a message if nothing else counts it."""
        if isinstance(refusal, InvalidRequest | InstrumentHalted):
            self._count_message()
        return _fields(refusal)

    def _own_desk(self) -> OrderDesk:
        """Return the desk, which names the connection's guard to the workers."""
        if self._desk is None:
            self._desk = current_desk().behind(self._guard)
        return self._desk

    async def _check(self, request: EntryRequest) -> Work:
        """Check a request. Raises InvalidRequest, Unavailable."""
        kind, fields, desk = request.kind, request.fields, self._own_desk()
        if kind == "place_orders":
            orders = await read_orders(fields)
            return Work(len(orders), lambda: _many(desk.place_many(orders), 201))
        if kind == "amend_order":
            amend = await read_amend_one(fields)
            looks_up = await desk.needs_look_up(amend)
            return Work(1, lambda: _one(desk.amend_one(amend)), looks_up=looks_up)
        if kind == "amend_orders":
            amends = await read_amends(fields)
            valid = [amend for amend in amends if not isinstance(amend, Refusal)]
            looks_up = any([await desk.needs_look_up(amend) for amend in valid])
            return Work(len(amends), lambda: _many(desk.amend_many(amends), 200), looks_up=looks_up)
        return await self._check_cancel(kind, fields, desk)

    async def _check_cancel(self, kind: str, fields: dict[str, Any], desk: OrderDesk) -> Work:
        if kind == "cancel_after":
            checked = cancel_after.run_validation(fields)
            return Work(1, lambda: _switched(desk, checked["client_id"], checked["timeout_seconds"]))
        if kind == "cancel_on_disconnect":
            checked = cancel_on_disconnect.run_validation(fields)
            partitions = await desk.partitions()
            return Work(1, lambda: self._guarded(checked["client_id"], checked["enabled"], partitions))
        if kind == "cancel_order":
            checked = cancel_one.run_validation(fields)
            order_id = UUID(checked["order_id"])
            return Work(1, lambda: _one(desk.cancel_by_id(order_id, owner=checked["client_id"])))
        checked = cancel_orders.run_validation(fields)
        client_id = checked["client_id"]
        if checked["order_ids"] is not None:
            order_ids = [UUID(text) for text in checked["order_ids"]]
            return Work(len(order_ids), lambda: _cancelled(desk.cancel_by_ids(order_ids, owner=client_id)))
        if checked["idempotency_key"] is not None:
            key = checked["idempotency_key"]
            return Work(1, lambda: _cancelled(desk.cancel_by_key(client_id, key)), looks_up=True)
        symbol = checked["instrument"]
        instrument = None if symbol is None else await read_instrument(symbol)
        return Work(
            1, lambda: _cancelled(desk.cancel_all(client_id, instrument=instrument, side=checked["side"]))
        )

    async def _guarded(self, client_id: str, enabled: bool, partitions: list[int]) -> bytes:
        if enabled:
            self._watch_peer()
        await current_keeper().set_guarded(self._guard, client_id, enabled=enabled, partitions=partitions)
        return b'"status":200,%s' % encode_json({"client_id": client_id, "enabled": enabled})[1:-1]


def _only(fields: dict[str, Any], name: str) -> Any:
    """Return the only field of a request. Raises InvalidRequest."""
    unknown = fields.keys() - {name}
    if unknown:
        raise InvalidRequest(fields={min(unknown)[:64] or "body": [f"Unknown field. Known fields: {name}."]})
    if name not in fields:
        raise InvalidRequest(fields={name: ["Is required."]})
    return fields[name]


def _fields(result: OrderResult | Refusal, created_status: int = 200) -> bytes:
    """Return the fields of a result, as in a list of results."""
    return result_json(result, created_status)[1:-1]


def _result_text(request: EntryRequest, rest: bytes) -> str:
    return (b'{"type":"result","id":%s,%s}' % (_encode_id(request.id), rest)).decode()


async def _one(order: Coroutine[Any, Any, OrderResult]) -> bytes:
    return _fields(await order)


async def _many(orders: Coroutine[Any, Any, list[OrderResult | Refusal]], created_status: int) -> bytes:
    return b'"status":200,"results":%s' % results_json(await orders, created_status)


async def _cancelled(cancels: Coroutine[Any, Any, MassCancelResult]) -> bytes:
    return b'"status":200,%s' % encode_json(cancelled_document(await cancels))[1:-1]


async def _switched(desk: OrderDesk, client_id: str, timeout_seconds: int) -> bytes:
    result = await desk.cancel_after(client_id, timeout_seconds)
    document = {
        "client_id": client_id,
        "timeout_seconds": timeout_seconds,
        "cancel_at": None if result.cancel_at is None else time_text(result.cancel_at),
    }
    return b'"status":200,%s' % encode_json(document)[1:-1]
