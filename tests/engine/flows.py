"""Reproducible streams of commands: the same seed and shape always give the same flow.

`flow` has limit orders, market orders and cancels. `InstructedFlow` has everything.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from matching.engine import (
    INTEGER_MAX,
    PLAIN,
    AmendOrder,
    CancelOrder,
    CancelReason,
    Event,
    Instructions,
    OrderBook,
    OrderKind,
    PlaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
    instructions_of,
)
from tests.engine.reference import ReferenceBook

MIDDLE_TICKS = 1_000


class Shape(NamedTuple):
    """The composition of a flow. Shares are parts of 1; the other commands are limit orders.

    A limit order's price lies up to `away_ticks` behind the middle of the market, or up to
    `over_ticks` beyond it.
    """

    name: str
    away_ticks: int
    over_ticks: int
    market_share: float
    cancel_share: float
    quantity_lots_max: int


SHAPES = (
    Shape("few prices, long queues", 3, 1, 0.15, 0.20, 50),
    Shape("many prices, short queues", 600, 30, 0.12, 0.40, 50),
    Shape("mostly cancels", 300, 5, 0.01, 0.49, 20),
    Shape("sweeps through many levels", 40, 40, 0.03, 0.20, 9),
    Shape("markets empty the book", 20, 2, 0.45, 0.10, 50),
)


def flow(shape: Shape, *, seed: int, commands: int) -> Iterator[PlaceOrder | CancelOrder]:
    """Generate commands, with some duplicate ids, cancels by other clients, and huge orders."""
    random = Random(f"{shape.name} {seed}")
    recent: list[tuple[str, str]] = []
    for number in range(commands):
        client_id = f"client-{random.randrange(20)}"
        dice = random.random()
        if recent and dice < shape.cancel_share:
            order_id, owner = recent.pop(random.randrange(len(recent)))
            stranger = random.random() < 0.05
            yield CancelOrder(order_id, client_id if stranger else owner)
            continue
        order_id = f"order-{number}"
        if recent and random.random() < 0.01:
            order_id = random.choice(recent)[0]
        side = random.choice((Side.BUY, Side.SELL))
        quantity_lots = random.randint(1, shape.quantity_lots_max)
        if random.random() < 0.01:
            quantity_lots *= 50
        if dice > 1 - shape.market_share:
            yield PlaceOrder(order_id, client_id, side, OrderKind.MARKET, 0, quantity_lots)
            continue
        beyond_ticks = random.randint(-shape.away_ticks, shape.over_ticks)
        price_ticks = MIDDLE_TICKS + (beyond_ticks if side is Side.BUY else -beyond_ticks)
        recent.append((order_id, client_id))
        if len(recent) > 200:
            recent.pop(0)
        yield PlaceOrder(order_id, client_id, side, OrderKind.LIMIT, price_ticks, quantity_lots)


# --- every instruction ----------------------------------------------------------------------------------


class Enter(NamedTuple):
    """A call of `enter_triggered`."""

    refusal: CancelReason | None = None


class Step(NamedTuple):
    """A command, or the entry of a triggered order."""

    action: PlaceOrder | CancelOrder | AmendOrder | Enter
    trades_max: int

    def apply(self, book: OrderBook | ReferenceBook) -> list[Event]:
        """Carry out the step on a book, and return the events."""
        if isinstance(self.action, Enter):
            return book.enter_triggered(self.trades_max, self.action.refusal)
        return book.process(self.action, self.trades_max)


class Mix(NamedTuple):
    """The composition of a flow of instructed orders.

    Shares are parts of 1, each of the commands that no earlier share has taken. Prices and triggers
    lie up to `away_ticks` from the last trade. The book keeps about `orders` orders.
    """

    name: str
    clients: int
    away_ticks: int
    orders: int
    cancel_share: float = 0.10
    amend_share: float = 0.15
    trigger_share: float = 0.25
    market_share: float = 0.20
    prevention_share: float = 0.5
    bounded_share: float = 0.1


MIXES = (
    Mix("everything", clients=5, away_ticks=12, orders=120),
    Mix("cascades", clients=20, away_ticks=25, orders=200, trigger_share=0.6, prevention_share=0.1),
    Mix("clients that meet themselves", clients=2, away_ticks=6, orders=60, prevention_share=0.9),
    Mix("mostly amends", clients=4, away_ticks=5, orders=80, amend_share=0.5),
    Mix("few trades each", clients=6, away_ticks=4, orders=150, market_share=0.4, bounded_share=0.8),
)

TIMES_IN_FORCE = (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK)
MARKET_TIMES_IN_FORCE = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
LIMITS = (OrderKind.STOP_LIMIT, OrderKind.TAKE_PROFIT_LIMIT)
MARKETS = (OrderKind.STOP, OrderKind.TAKE_PROFIT)
STOPS = (OrderKind.STOP, OrderKind.STOP_LIMIT)
CANCELS = (CancelReason.CLIENT_REQUEST, CancelReason.EXPIRED, CancelReason.CANCEL_AFTER)
REFUSALS = (CancelReason.TOO_MANY_ORDERS, CancelReason.TOO_MANY_LEVELS)


class InstructedFlow:
    """Steps with all orders and instructions. It looks at a reference book to choose what is open.

    Apply each step to that book before asking for the next one. After each command, triggered
    orders enter until none is left. In between, some of them are cancelled, as the worker does if
    their time has come.
    """

    def __init__(self, mix: Mix, seed: int, book: ReferenceBook) -> None:
        self._mix = mix
        self._random = Random(f"{mix.name} {seed}")
        self._book = book
        self._number = 0
        self._gone: list[tuple[str, str]] = [("order-0", "client-0")]

    def next_step(self) -> Step:
        random, book = self._random, self._book
        trades_max = random.randint(1, 3) if random.random() < self._mix.bounded_share else INTEGER_MAX
        if book.triggered and random.random() < 0.97:
            refusal = random.choice(REFUSALS) if random.random() < 0.03 else None
            return Step(Enter(refusal), trades_max)
        if book.triggered:
            return Step(self._cancel_or_amend_triggered(), trades_max)
        return Step(self._next_command(), trades_max)

    def _next_command(self) -> PlaceOrder | CancelOrder | AmendOrder:
        random, mix = self._random, self._mix
        is_full = len(self._book) + self._book.waiting_count > mix.orders
        if random.random() < (0.7 if is_full else mix.cancel_share):
            order_id, client_id = self._choose_order()
            return CancelOrder(order_id, client_id, random.choice(CANCELS))
        if random.random() < mix.amend_share:
            return self._amend()
        return self._place()

    def _cancel_or_amend_triggered(self) -> CancelOrder | AmendOrder:
        order = self._random.choice(self._book.triggered)
        if self._random.random() < 0.2:
            return AmendOrder(order.order_id, order.client_id, quantity_lots=1)
        return CancelOrder(order.order_id, order.client_id, CancelReason.EXPIRED)

    def _choose_order(self) -> tuple[str, str]:
        """Return the id and the owner of an open order; sometimes of none, or another client."""
        random, book = self._random, self._book
        queues = [book.waiting, *([one.order for one in book.resting[side]] for side in Side)]
        queue = random.choice([queue for queue in queues if queue] or [[]])
        if not queue or random.random() < 0.05:
            return random.choice(self._gone)
        order = random.choice(queue)
        if random.random() < 0.04:
            return order.order_id, self._client()
        self._gone = [*self._gone[-50:], (order.order_id, order.client_id)]
        return order.order_id, order.client_id

    def _place(self) -> PlaceOrder:
        random, mix = self._random, self._mix
        self._number += 1
        order_id = f"order-{self._number}"
        if random.random() < 0.01:
            order_id, _ = self._choose_order()
        side = random.choice(tuple(Side))
        waits, is_market = random.random() < mix.trigger_share, random.random() < mix.market_share
        if waits:
            kind = random.choice(MARKETS if is_market else LIMITS)
        else:
            kind = OrderKind.MARKET if is_market else OrderKind.LIMIT
        quantity_lots = random.randint(1, 20) * (10 if random.random() < 0.03 else 1)
        triggers_above = (kind in STOPS) == (side is Side.BUY)
        return PlaceOrder(
            order_id,
            self._client(),
            side,
            kind,
            0 if is_market else self._limit_price(side),
            quantity_lots,
            self._instructions(is_market),
            self._trigger_price(triggers_above) if waits else 0,
        )

    def _instructions(self, is_market: bool) -> Instructions:
        random = self._random
        if random.random() < 0.3:
            return PLAIN
        prevention = SelfTradePrevention.NONE
        if random.random() < self._mix.prevention_share:
            prevention = random.choice(tuple(SelfTradePrevention))
        time_in_force = random.choice(MARKET_TIMES_IN_FORCE if is_market else TIMES_IN_FORCE)
        rests = not is_market and time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
        return instructions_of(time_in_force, rests and random.random() < 0.3, prevention)

    def _amend(self) -> AmendOrder:
        random = self._random
        order_id, client_id = self._choose_order()
        order = next((one for one in self._orders() if one.order_id == order_id), None)
        price_ticks = quantity_lots = trigger_price_ticks = None
        if random.random() < 0.6:
            most = 20 if order is None or random.random() < 0.4 else order.quantity_lots
            quantity_lots = random.randint(1, most)
        if random.random() < 0.35:
            price_ticks = self._limit_price(Side.BUY if order is None else order.side)
        if random.random() < (0.3 if order in self._book.waiting else 0.03):
            trigger_price_ticks = self._trigger_price(random.random() < 0.5)
        if random.random() < 0.1 and order is not None:
            quantity_lots = order.quantity_lots
        return AmendOrder(
            order_id,
            client_id,
            price_ticks,
            quantity_lots,
            trigger_price_ticks,
            changes_expiry=random.random() < 0.1,
            is_halted=random.random() < 0.05,
        )

    def _orders(self) -> list[PlaceOrder]:
        book = self._book
        return [*book.waiting, *(one.order for side in Side for one in book.resting[side])]

    def _client(self) -> str:
        return f"client-{self._random.randrange(self._mix.clients)}"

    def _limit_price(self, side: Side) -> int:
        """Return a price that mostly lies behind the last trade, and sometimes beyond it."""
        away_ticks = self._mix.away_ticks
        beyond_ticks = self._random.randint(-away_ticks, away_ticks // 4)
        return max(1, self._middle() + (beyond_ticks if side is Side.BUY else -beyond_ticks))

    def _trigger_price(self, is_above: bool) -> int:
        """Return a price that mostly lies on the given side of the last trade."""
        away_ticks = self._mix.away_ticks
        distance_ticks = self._random.randint(-away_ticks // 6, away_ticks)
        return max(1, self._middle() + (distance_ticks if is_above else -distance_ticks))

    def _middle(self) -> int:
        """Return the last trade's price, which is drawn a bit towards the middle of all prices."""
        last_ticks = self._book.last_price_ticks or MIDDLE_TICKS
        return (9 * last_ticks + MIDDLE_TICKS) // 10
