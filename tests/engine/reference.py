"""A slow order book that is simple enough to trust. The engine must behave exactly like it.

Each side is one list of orders, sorted by price, best first, and at one price by time. Nothing is
stored twice: the totals of a level are computed from its orders at each call. The interface is that
of OrderBook. Each command costs at least O(orders).
"""

from dataclasses import dataclass
from hashlib import sha256

from matching.engine import (
    INTEGER_MAX,
    CancelOrder,
    CancelReason,
    CommandRejected,
    Event,
    Level,
    OrderCancelled,
    OrderKind,
    OrderRested,
    PlaceOrder,
    RejectReason,
    RemainderCancelled,
    Side,
    Trade,
)
from matching.engine.commands import check_ids, check_place_order


@dataclass
class Resting:
    """An order in the book."""

    order_id: str
    client_id: str
    side: Side
    price_ticks: int
    remaining_lots: int


class ReferenceBook:
    """The order book as two sorted lists of orders."""

    def __init__(self, *, sequence: int = 0) -> None:
        if type(sequence) is not int or sequence < 0:
            raise ValueError(f"sequence={sequence!r}")
        self.sequence = sequence
        self.orders: dict[Side, list[Resting]] = {Side.BUY: [], Side.SELL: []}

    def process(self, command: PlaceOrder | CancelOrder, trades_max: int = INTEGER_MAX) -> list[Event]:
        """As OrderBook.process."""
        if isinstance(command, PlaceOrder):
            return self._place(command, trades_max)
        if isinstance(command, CancelOrder):
            return self._cancel(command)
        raise ValueError(f"command={command!r}")

    def restore(
        self, *, order_id: str, client_id: str, side: Side, price_ticks: int, remaining_lots: int
    ) -> None:
        """As OrderBook.restore."""
        order = PlaceOrder(order_id, client_id, side, OrderKind.LIMIT, price_ticks, remaining_lots)
        check_place_order(order)
        makers = self.orders[_other(side)]
        if self.contains(order_id) or (makers and _crosses(order, makers[0])):
            raise ValueError(f"order_id={order_id!r}")
        self._insert(Resting(order_id, client_id, side, price_ticks, remaining_lots))

    def _place(self, command: PlaceOrder, trades_max: int) -> list[Event]:
        check_place_order(command)
        if self.contains(command.order_id):
            return [CommandRejected(command.order_id, command.client_id, RejectReason.DUPLICATE_ORDER_ID)]
        events: list[Event] = []
        remaining_lots = command.quantity_lots
        makers = self.orders[_other(command.side)]
        while remaining_lots > 0 and makers and _crosses(command, makers[0]):
            if len(events) == trades_max:
                reason = CancelReason.TOO_MANY_TRADES
                return [
                    *events,
                    RemainderCancelled(command.order_id, command.client_id, remaining_lots, reason),
                ]
            maker = makers[0]
            quantity_lots = min(remaining_lots, maker.remaining_lots)
            remaining_lots -= quantity_lots
            maker.remaining_lots -= quantity_lots
            if maker.remaining_lots == 0:
                del makers[0]
            self.sequence += 1
            events.append(
                Trade(
                    sequence=self.sequence,
                    maker_order_id=maker.order_id,
                    maker_client_id=maker.client_id,
                    taker_order_id=command.order_id,
                    taker_client_id=command.client_id,
                    taker_side=command.side,
                    price_ticks=maker.price_ticks,
                    quantity_lots=quantity_lots,
                    maker_remaining_lots=maker.remaining_lots,
                    level_quantity_lots=self._level(maker).quantity_lots,
                    level_orders=self._level(maker).orders,
                )
            )
        if remaining_lots > 0 and command.kind == OrderKind.MARKET:
            reason = CancelReason.NO_LIQUIDITY
            events.append(RemainderCancelled(command.order_id, command.client_id, remaining_lots, reason))
        elif remaining_lots > 0:
            order = Resting(
                command.order_id, command.client_id, command.side, command.price_ticks, remaining_lots
            )
            self._insert(order)
            self.sequence += 1
            events.append(OrderRested(*self._after(order)))
        return events

    def _cancel(self, command: CancelOrder) -> list[Event]:
        check_ids(command.order_id, command.client_id)
        for orders in self.orders.values():
            for order in orders:
                if order.order_id != command.order_id:
                    continue
                if order.client_id != command.client_id:
                    return [CommandRejected(command.order_id, command.client_id, RejectReason.NOT_OWNER)]
                ahead = [one.order_id for one in orders if one.price_ticks == order.price_ticks]
                place = ahead.index(order.order_id)
                orders.remove(order)
                self.sequence += 1
                previous = ahead[place - 1] if place else None
                return [OrderCancelled(*self._after(order), previous, command.reason)]
        return [CommandRejected(command.order_id, command.client_id, RejectReason.ORDER_NOT_OPEN)]

    def _insert(self, order: Resting) -> None:
        orders = self.orders[order.side]
        orders.append(order)
        # The sort is stable: among equal prices the new order stays last.
        orders.sort(key=lambda one: -one.price_ticks if order.side == Side.BUY else one.price_ticks)

    def _after(self, order: Resting) -> tuple[int, str, str, Side, int, int, int, int]:
        level = self._level(order)
        return (
            self.sequence,
            order.order_id,
            order.client_id,
            order.side,
            order.price_ticks,
            order.remaining_lots,
            level.quantity_lots,
            level.orders,
        )

    def _level(self, order: Resting) -> Level:
        return _total(order.price_ticks, self.orders[order.side])

    @property
    def best_bid(self) -> int | None:
        """As OrderBook.best_bid."""
        return max((order.price_ticks for order in self.orders[Side.BUY]), default=None)

    @property
    def best_ask(self) -> int | None:
        """As OrderBook.best_ask."""
        return min((order.price_ticks for order in self.orders[Side.SELL]), default=None)

    def __len__(self) -> int:
        return self.order_count(Side.BUY) + self.order_count(Side.SELL)

    def order_count(self, side: Side) -> int:
        """As OrderBook.order_count."""
        return len(self.orders[side])

    def level_count(self, side: Side) -> int:
        """As OrderBook.level_count."""
        return len({order.price_ticks for order in self.orders[side]})

    def opens_level(self, side: Side, price_ticks: int) -> bool:
        """As OrderBook.opens_level."""
        return all(order.price_ticks != price_ticks for order in self.orders[side])

    def improves(self, side: Side, price_ticks: int) -> bool:
        """As OrderBook.improves."""
        if side == Side.BUY:
            return all(price_ticks > order.price_ticks for order in self.orders[side])
        return all(price_ticks < order.price_ticks for order in self.orders[side])

    def contains(self, order_id: str) -> bool:
        """As OrderBook.contains."""
        return any(order.order_id == order_id for side in self.orders.values() for order in side)

    def depth(self, levels: int | None = None) -> tuple[list[Level], list[Level]]:
        """As OrderBook.depth."""
        if levels is not None and (type(levels) is not int or levels < 0):
            raise ValueError(f"levels={levels!r}")
        bids, asks = self.orders[Side.BUY], self.orders[Side.SELL]
        return (
            [_total(price, bids) for price in sorted({o.price_ticks for o in bids}, reverse=True)][:levels],
            [_total(price, asks) for price in sorted({o.price_ticks for o in asks})][:levels],
        )

    def state_hash(self) -> str:
        """As OrderBook.state_hash."""
        text = f"sequence={self.sequence}\n"
        for letter, side in (("B", Side.BUY), ("S", Side.SELL)):
            for order in self.orders[side]:
                text += f"{letter} {order.price_ticks} {order.remaining_lots} "
                text += f"{order.order_id} {order.client_id}\n"
        return sha256(text.encode()).hexdigest()


def _other(side: Side) -> Side:
    return Side.SELL if side == Side.BUY else Side.BUY


def _crosses(taker: PlaceOrder, maker: Resting) -> bool:
    if taker.kind == OrderKind.MARKET:
        return True
    if taker.side == Side.BUY:
        return taker.price_ticks >= maker.price_ticks
    return taker.price_ticks <= maker.price_ticks


def _total(price_ticks: int, orders: list[Resting]) -> Level:
    quantities = [order.remaining_lots for order in orders if order.price_ticks == price_ticks]
    return Level(price_ticks, sum(quantities), len(quantities))
