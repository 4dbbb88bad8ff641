"""A slow order book that is simple enough to trust. The engine must behave exactly like it.

It follows docs/orders.md rule by rule, and shares only the commands and events with the engine.
Each side is one list of orders, sorted by price, best first, and at one price by time. Waiting
orders are one list in the order of their entry, and triggered orders another. Nothing is stored
twice: the totals of a level are computed from its orders for each event. The interface is that of
OrderBook, except `undo`. Each command costs at least O(orders).
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from msgspec import structs

from matching.engine import (
    INTEGER_MAX,
    AmendOrder,
    CancelOrder,
    CancelReason,
    CommandRejected,
    Event,
    Instructions,
    Level,
    MatchPrevented,
    OrderCancelled,
    OrderEntered,
    OrderKind,
    OrderReduced,
    OrderRested,
    OrderTriggered,
    OrderWaits,
    OrderWithdrawn,
    PlaceOrder,
    RejectReason,
    RemainderCancelled,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    WaitingAmended,
    WaitingCancelled,
)

LIMIT_KINDS = (OrderKind.LIMIT, OrderKind.STOP_LIMIT, OrderKind.TAKE_PROFIT_LIMIT)
STOP_KINDS = (OrderKind.STOP, OrderKind.STOP_LIMIT)
ENTERING_KINDS = (OrderKind.LIMIT, OrderKind.MARKET)


@dataclass
class Resting:
    """An order in the book, and what remains of it."""

    order: PlaceOrder
    remaining_lots: int


class ReferenceBook:
    """The order book as sorted lists of orders."""

    def __init__(self, *, sequence: int = 0, last_price_ticks: int | None = None) -> None:
        if type(sequence) is not int or sequence < 0:
            raise ValueError(f"sequence={sequence!r}")
        if last_price_ticks is not None:
            _check_integer("last_price_ticks", last_price_ticks)
        self.sequence = sequence
        self.last_price_ticks = last_price_ticks
        self.resting: dict[Side, list[Resting]] = {Side.BUY: [], Side.SELL: []}
        self.waiting: list[PlaceOrder] = []  # in the order of their entry
        self.triggered: list[PlaceOrder] = []  # the next to enter comes first

    # --- commands -----------------------------------------------------------------------------------

    def process(
        self, command: PlaceOrder | CancelOrder | AmendOrder, trades_max: int = INTEGER_MAX
    ) -> list[Event]:
        """As OrderBook.process."""
        if isinstance(command, PlaceOrder):
            events = self._place(command, trades_max)
        elif isinstance(command, CancelOrder):
            events = self._cancel(command)
        elif isinstance(command, AmendOrder):
            events = self._amend(command, trades_max)
        else:
            raise ValueError(f"command={command!r}")
        return events + self._trigger(events)

    def enter_triggered(
        self, trades_max: int = INTEGER_MAX, refusal: CancelReason | None = None
    ) -> list[Event]:
        """As OrderBook.enter_triggered."""
        if not self.triggered:
            raise ValueError("no order is triggered")
        order = self.triggered.pop(0)
        if self._would_cross(order):
            refusal = refusal or CancelReason.WOULD_CROSS
        if refusal is not None:
            return [OrderEntered(order), RemainderCancelled(order, order.quantity_lots, refusal)]
        events = [OrderEntered(order), *self._enter(order, order.quantity_lots, trades_max)]
        return events + self._trigger(events)

    def _place(self, order: PlaceOrder, trades_max: int) -> list[Event]:
        _check_order(order)
        if self.contains(order.order_id):
            return [_rejected(order, RejectReason.DUPLICATE_ORDER_ID)]
        if order.kind not in ENTERING_KINDS:
            if self._is_met_now(order):
                return [_rejected(order, RejectReason.WOULD_TRIGGER)]
            self.waiting.append(order)
            return [OrderWaits(self._next(), order)]
        if self._would_cross(order):
            return [_rejected(order, RejectReason.WOULD_CROSS)]
        return self._enter(order, order.quantity_lots, trades_max)

    def _cancel(self, command: CancelOrder) -> list[Event]:
        for name in ("order_id", "client_id"):
            _check_text(name, getattr(command, name))
        order = self.find(command.order_id)
        if order is None:
            return [_rejected(command, RejectReason.ORDER_NOT_OPEN)]
        if order.client_id != command.client_id:
            return [_rejected(command, RejectReason.NOT_OWNER)]
        resting = self._find_resting(order.order_id)
        if resting is not None:
            return [self._take_off(resting, command.reason)]
        is_triggered = order in self.triggered
        if is_triggered:
            previous = _id_before(order, self.triggered)
            self.triggered.remove(order)
        else:
            previous = self._id_before_waiting(order)
            self.waiting.remove(order)
        return [WaitingCancelled(self._next(), order, is_triggered, previous, command.reason)]

    # --- amends -------------------------------------------------------------------------------------

    def _amend(self, command: AmendOrder, trades_max: int) -> list[Event]:
        _check_amend(command)
        order = self.find(command.order_id)
        if order is None or order in self.triggered:
            return [_rejected(command, RejectReason.ORDER_NOT_OPEN)]
        resting = self._find_resting(order.order_id)
        used_lots = 0 if resting is None else order.quantity_lots - resting.remaining_lots
        amended = _with_numbers_of(command, order)
        keeps_place = amended.quantity_lots <= order.quantity_lots and amended == structs.replace(
            order, quantity_lots=amended.quantity_lots
        )
        enters_again = not keeps_place
        refusals = (  # the first that applies counts
            (RejectReason.NOT_OWNER, order.client_id != command.client_id),
            (RejectReason.INSTRUMENT_HALTED, command.is_halted and (enters_again or command.changes_expiry)),
            (RejectReason.NOT_APPLICABLE, not _applies(command, order, is_waiting=resting is None)),
            (RejectReason.QUANTITY_FILLED, amended.quantity_lots <= used_lots),
            (RejectReason.WOULD_TRIGGER, enters_again and resting is None and self._is_met_now(amended)),
            (RejectReason.WOULD_CROSS, enters_again and resting is not None and self._would_cross(amended)),
        )
        refusal = next((reason for reason, applies in refusals if applies), None)
        if refusal is not None:
            return [_rejected(command, refusal)]
        if resting is None:
            if amended == order and not command.changes_expiry:
                return []
            return [self._amend_waiting(order, amended, keeps_place)]
        if amended == order:
            return []
        return self._amend_resting(resting, amended, keeps_place, trades_max)

    def _amend_waiting(self, order: PlaceOrder, amended: PlaceOrder, keeps_place: bool) -> Event:
        previous = self._id_before_waiting(order)
        at = self.waiting.index(order)
        del self.waiting[at]
        self.waiting.insert(at if keeps_place else len(self.waiting), amended)
        return WaitingAmended(self._next(), order, amended, keeps_place, previous)

    def _amend_resting(
        self, resting: Resting, amended: PlaceOrder, keeps_place: bool, trades_max: int
    ) -> list[Event]:
        order, former_lots = resting.order, resting.remaining_lots
        remaining_lots = former_lots + amended.quantity_lots - order.quantity_lots
        if keeps_place:
            resting.order, resting.remaining_lots = amended, remaining_lots
            totals = self._totals(amended)
            return [OrderReduced(self._next(), order, amended, remaining_lots, *totals)]
        previous = self._id_before_resting(resting)
        self.resting[order.side].remove(resting)
        totals = self._totals(order)
        withdrawn = OrderWithdrawn(self._next(), order, amended, former_lots, *totals, previous)
        return [withdrawn, *self._enter(amended, remaining_lots, trades_max)]

    # --- matching -----------------------------------------------------------------------------------

    def _enter(self, order: PlaceOrder, remaining_lots: int, trades_max: int) -> list[Event]:
        """Let the order trade, then rest or end."""
        if order.instructions.time_in_force is TimeInForce.FOK:
            # Try it on a copy, in which the order takes what it can.
            trial = self._copy()._match(order, remaining_lots, trades_max)
            if sum(event.quantity_lots for event in trial if isinstance(event, Trade)) < remaining_lots:
                return [RemainderCancelled(order, remaining_lots, CancelReason.UNFILLED_FOK)]
        return self._match(order, remaining_lots, trades_max)

    def _match(self, order: PlaceOrder, remaining_lots: int, trades_max: int) -> list[Event]:
        prevention = order.instructions.self_trade_prevention
        events: list[Event] = []
        trades = 0
        while remaining_lots > 0 and (maker := self._best_maker(order)) is not None:
            lots = min(remaining_lots, maker.remaining_lots)
            is_own = maker.order.client_id == order.client_id
            if not is_own or prevention is SelfTradePrevention.NONE:
                if trades == trades_max:
                    return [
                        *events,
                        RemainderCancelled(order, remaining_lots, CancelReason.TOO_MANY_TRADES),
                    ]
                events.append(self._trade(order, maker, lots))
                trades += 1
                remaining_lots -= lots
            elif prevention is SelfTradePrevention.DECREMENT:
                events.append(self._prevent(order, maker, lots))
                remaining_lots -= lots
                if remaining_lots == 0:
                    return [*events, RemainderCancelled(order, 0, CancelReason.SELF_TRADE)]
            else:
                if prevention is not SelfTradePrevention.CANCEL_TAKER:
                    events.append(self._take_off(maker, CancelReason.SELF_TRADE))
                if prevention is not SelfTradePrevention.CANCEL_MAKER:
                    return [*events, RemainderCancelled(order, remaining_lots, CancelReason.SELF_TRADE)]
        if remaining_lots > 0:
            events.append(self._rest_or_end(order, remaining_lots))
        return events

    def _rest_or_end(self, order: PlaceOrder, remaining_lots: int) -> Event:
        if order.kind not in LIMIT_KINDS:
            return RemainderCancelled(order, remaining_lots, CancelReason.NO_LIQUIDITY)
        if order.instructions.time_in_force is TimeInForce.IOC:
            return RemainderCancelled(order, remaining_lots, CancelReason.UNFILLED_IOC)
        self._insert(Resting(order, remaining_lots))
        return OrderRested(self._next(), order, remaining_lots, *self._totals(order))

    def _trade(self, taker: PlaceOrder, maker: Resting, lots: int) -> Event:
        self.last_price_ticks = maker.order.price_ticks
        self._reduce(maker, lots)
        return Trade(
            self._next(),
            maker.order,
            taker,
            maker.order.price_ticks,
            lots,
            maker.remaining_lots,
            *self._totals(maker.order),
        )

    def _prevent(self, taker: PlaceOrder, maker: Resting, lots: int) -> Event:
        self._reduce(maker, lots)
        totals = self._totals(maker.order)
        return MatchPrevented(self._next(), maker.order, taker, lots, maker.remaining_lots, *totals)

    def _trigger(self, events: list[Event]) -> list[Event]:
        """Let each trade trigger the orders that it meets, and return their events."""
        found: list[Event] = []
        for event in events:
            if not isinstance(event, Trade):
                continue
            met = [order for order in self.waiting if _is_met(order, event.price_ticks)]
            for order in sorted(met, key=_order_of_triggers):
                self.waiting.remove(order)
                self.triggered.append(order)
                found.append(OrderTriggered(self._next(), order))
        return found

    def _reduce(self, maker: Resting, lots: int) -> None:
        maker.remaining_lots -= lots
        if maker.remaining_lots == 0:
            self.resting[maker.order.side].remove(maker)

    def _take_off(self, resting: Resting, reason: CancelReason) -> Event:
        order = resting.order
        previous = self._id_before_resting(resting)
        self.resting[order.side].remove(resting)
        totals = self._totals(order)
        return OrderCancelled(self._next(), order, resting.remaining_lots, *totals, previous, reason)

    def _insert(self, resting: Resting) -> None:
        orders = self.resting[resting.order.side]
        orders.append(resting)
        # The sort is stable: among equal prices the new order stays last.
        orders.sort(key=_price_order)

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    # --- look-ups -----------------------------------------------------------------------------------

    def _best_maker(self, taker: PlaceOrder) -> Resting | None:
        """Return the first order that the taker meets, or None."""
        makers = self.resting[_other(taker.side)]
        if not makers:
            return None
        price_ticks = makers[0].order.price_ticks
        if taker.kind in LIMIT_KINDS:
            is_too_dear = taker.side is Side.BUY and price_ticks > taker.price_ticks
            is_too_cheap = taker.side is Side.SELL and price_ticks < taker.price_ticks
            if is_too_dear or is_too_cheap:
                return None
        return makers[0]

    def _would_cross(self, order: PlaceOrder) -> bool:
        """Return whether the order is post-only and would trade."""
        return order.instructions.post_only and self._best_maker(order) is not None

    def _is_met_now(self, order: PlaceOrder) -> bool:
        """Return whether the last trade meets the order's trigger."""
        return self.last_price_ticks is not None and _is_met(order, self.last_price_ticks)

    def _find_resting(self, order_id: str) -> Resting | None:
        for orders in self.resting.values():
            for resting in orders:
                if resting.order.order_id == order_id:
                    return resting
        return None

    def _id_before_resting(self, resting: Resting) -> str | None:
        order = resting.order
        queue = [one.order for one in self.resting[order.side] if one.order.price_ticks == order.price_ticks]
        return _id_before(order, queue)

    def _id_before_waiting(self, order: PlaceOrder) -> str | None:
        return _id_before(
            order, [one for one in self.waiting if _order_of_triggers(one) == _order_of_triggers(order)]
        )

    def _totals(self, order: PlaceOrder) -> tuple[int, int]:
        """Return quantity and number of orders of the order's price level."""
        level = _total(order.price_ticks, self.resting[order.side])
        return level.quantity_lots, level.orders

    def _copy(self) -> "ReferenceBook":
        copy = ReferenceBook(sequence=self.sequence, last_price_ticks=self.last_price_ticks)
        copy.resting = {side: [replace(one) for one in orders] for side, orders in self.resting.items()}
        return copy

    # --- the rest of the interface ------------------------------------------------------------------

    def restore(self, order: PlaceOrder, remaining_lots: int) -> None:
        """As OrderBook.restore."""
        self._check_restored(order)
        _check_integer("remaining_lots", remaining_lots)
        if order.kind not in LIMIT_KINDS or remaining_lots > order.quantity_lots:
            raise ValueError(f"order_id={order.order_id!r}")
        if self._best_maker(order) is not None:
            raise ValueError(f"price_ticks={order.price_ticks!r}")
        self._insert(Resting(order, remaining_lots))

    def restore_waiting(self, order: PlaceOrder, *, is_triggered: bool = False) -> None:
        """As OrderBook.restore_waiting."""
        self._check_restored(order)
        if order.kind in ENTERING_KINDS:
            raise ValueError(f"kind={order.kind!r}")
        (self.triggered if is_triggered else self.waiting).append(order)

    def _check_restored(self, order: PlaceOrder) -> None:
        _check_order(order)
        if self.contains(order.order_id):
            raise ValueError(f"order_id={order.order_id!r}")

    @property
    def best_bid(self) -> int | None:
        """As OrderBook.best_bid."""
        return max((one.order.price_ticks for one in self.resting[Side.BUY]), default=None)

    @property
    def best_ask(self) -> int | None:
        """As OrderBook.best_ask."""
        return min((one.order.price_ticks for one in self.resting[Side.SELL]), default=None)

    @property
    def waiting_count(self) -> int:
        """As OrderBook.waiting_count."""
        return len(self.waiting) + len(self.triggered)

    @property
    def next_triggered(self) -> PlaceOrder | None:
        """As OrderBook.next_triggered."""
        return self.triggered[0] if self.triggered else None

    def __len__(self) -> int:
        return self.order_count(Side.BUY) + self.order_count(Side.SELL)

    def order_count(self, side: Side) -> int:
        """As OrderBook.order_count."""
        return len(self.resting[side])

    def level_count(self, side: Side) -> int:
        """As OrderBook.level_count."""
        return len({one.order.price_ticks for one in self.resting[side]})

    def opens_level(self, side: Side, price_ticks: int) -> bool:
        """As OrderBook.opens_level."""
        return all(one.order.price_ticks != price_ticks for one in self.resting[side])

    def improves(self, side: Side, price_ticks: int) -> bool:
        """As OrderBook.improves."""
        prices = [one.order.price_ticks for one in self.resting[side]]
        if side is Side.BUY:
            return all(price_ticks > price for price in prices)
        return all(price_ticks < price for price in prices)

    def contains(self, order_id: str) -> bool:
        """As OrderBook.contains."""
        return self.find(order_id) is not None

    def find(self, order_id: str) -> PlaceOrder | None:
        """As OrderBook.find."""
        resting = self._find_resting(order_id)
        if resting is not None:
            return resting.order
        return next((one for one in self.waiting + self.triggered if one.order_id == order_id), None)

    def is_waiting(self, order_id: str) -> bool:
        """As OrderBook.is_waiting."""
        return any(one.order_id == order_id for one in self.waiting + self.triggered)

    def depth(self, levels: int | None = None) -> tuple[list[Level], list[Level]]:
        """As OrderBook.depth."""
        if levels is not None and (type(levels) is not int or levels < 0):
            raise ValueError(f"levels={levels!r}")
        bids, asks = self.resting[Side.BUY], self.resting[Side.SELL]
        bid_prices = sorted({one.order.price_ticks for one in bids}, reverse=True)
        ask_prices = sorted({one.order.price_ticks for one in asks})
        return (
            [_total(price_ticks, bids) for price_ticks in bid_prices][:levels],
            [_total(price_ticks, asks) for price_ticks in ask_prices][:levels],
        )

    def state_hash(self) -> str:
        """As OrderBook.state_hash."""
        lines = [f"sequence={self.sequence}"]
        for letter, side in (("B", Side.BUY), ("S", Side.SELL)):
            for resting in self.resting[side]:
                lines.append(f"{letter} {_text(resting.order, resting.remaining_lots)}")
        if self.waiting_count:
            lines.append(f"last={self.last_price_ticks}")
        queues = (("W", sorted(self.waiting, key=_order_of_triggers)), ("T", self.triggered))
        for letter, orders in queues:
            for order in orders:
                kind, side_number = int(order.kind), int(order.side)
                numbers = f"{kind} {side_number} {order.trigger_price_ticks}"
                lines.append(f"{letter} {numbers} {_text(order, order.quantity_lots)}")
        return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


# --- prices and triggers --------------------------------------------------------------------------------


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _price_order(resting: Resting) -> int:
    order = resting.order
    return -order.price_ticks if order.side is Side.BUY else order.price_ticks


def _total(price_ticks: int, orders: list[Resting]) -> Level:
    quantities = [one.remaining_lots for one in orders if one.order.price_ticks == price_ticks]
    return Level(price_ticks, sum(quantities), len(quantities))


def _triggers_above(order: PlaceOrder) -> bool:
    """Return whether trades at or above the trigger price meet it, and not those at or below."""
    if order.kind in STOP_KINDS:
        return order.side is Side.BUY
    return order.side is Side.SELL


def _is_met(order: PlaceOrder, price_ticks: int) -> bool:
    if _triggers_above(order):
        return price_ticks >= order.trigger_price_ticks
    return price_ticks <= order.trigger_price_ticks


def _order_of_triggers(order: PlaceOrder) -> tuple[int, int]:
    """Return the sort key of orders that one trade triggers. The sort keeps the order of entry."""
    return (0, order.trigger_price_ticks) if _triggers_above(order) else (1, -order.trigger_price_ticks)


# --- orders ---------------------------------------------------------------------------------------------


def _id_before(order: PlaceOrder, orders: list[PlaceOrder]) -> str | None:
    place = orders.index(order)
    return orders[place - 1].order_id if place else None


def _rejected(command: PlaceOrder | CancelOrder | AmendOrder, reason: RejectReason) -> Event:
    return CommandRejected(command.order_id, command.client_id, reason)


def _with_numbers_of(command: AmendOrder, order: PlaceOrder) -> PlaceOrder:
    names = ("price_ticks", "quantity_lots", "trigger_price_ticks")
    numbers = {name: getattr(command, name) for name in names}
    return structs.replace(order, **{name: value for name, value in numbers.items() if value is not None})


def _applies(command: AmendOrder, order: PlaceOrder, *, is_waiting: bool) -> bool:
    """Return whether the order has each of the things that the amend changes."""
    if command.price_ticks is not None and order.kind not in LIMIT_KINDS:
        return False
    if command.trigger_price_ticks is not None and not is_waiting:
        return False
    return not command.changes_expiry or order.instructions.time_in_force is TimeInForce.GTD


def _text(order: PlaceOrder, lots: int) -> str:
    instructions = order.instructions
    text = f"{order.price_ticks} {lots} {order.order_id} {order.client_id}"
    if instructions == Instructions():
        return text
    numbers = (instructions.time_in_force, instructions.post_only, instructions.self_trade_prevention)
    return " ".join([text, *(str(int(number)) for number in numbers)])


# --- checks ---------------------------------------------------------------------------------------------


def _check_text(name: str, value: object) -> None:
    if type(value) is not str:
        raise ValueError(f"{name}={value!r}")


def _check_integer(name: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= INTEGER_MAX:
        raise ValueError(f"{name}={value!r}")


def _check_order(order: PlaceOrder) -> None:
    for name in ("order_id", "client_id"):
        _check_text(name, getattr(order, name))
    for name, kind in (("side", Side), ("kind", OrderKind), ("instructions", Instructions)):
        value = getattr(order, name)
        if type(value) is not kind:
            raise ValueError(f"{name}={value!r}")
    _check_integer("quantity_lots", order.quantity_lots)
    has_limit, has_trigger = order.kind in LIMIT_KINDS, order.kind not in ENTERING_KINDS
    for name, is_needed in (("price_ticks", has_limit), ("trigger_price_ticks", has_trigger)):
        value = getattr(order, name)
        if is_needed:
            _check_integer(name, value)
        elif type(value) is not int or value != 0:
            raise ValueError(f"{name}={value!r}")
    time_in_force = order.instructions.time_in_force
    if time_in_force is TimeInForce.GTD and not has_limit:
        raise ValueError("time_in_force=GTD")
    rests = has_limit and time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
    if order.instructions.post_only and not rests:
        raise ValueError("post_only=True")


def _check_amend(command: AmendOrder) -> None:
    for name in ("order_id", "client_id"):
        _check_text(name, getattr(command, name))
    for name in ("price_ticks", "quantity_lots", "trigger_price_ticks"):
        value = getattr(command, name)
        if value is not None:
            _check_integer(name, value)
