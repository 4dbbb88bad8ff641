"""Our engine as a candidate of `tracebook-conformance`, a suite of another author.

`python -m tests.engine.tracebook_adapter` speaks its protocol on standard input and output, so that
its command line can qualify the engine:

    tracebook-conformance qualify --profile fifo-full-v1 --seed 42 --output-dir /tmp/qualification \
        --candidate-cmd ".venv/bin/python -m tests.engine.tracebook_adapter"

The suite has operations that our engine does not have as such. They are translated:

- A price off the grid is rounded to the grid, as the suite demands. Our API refuses it.
- `reduce` names the lots to take off, and may take all: an amend of the quantity, or a cancel.
- `replace` names the new remaining quantity, and always loses the priority. An amend does the same
  if it enters again. Otherwise it would keep its place, so it becomes a cancel and a new order.
- `clear` cancels all orders.
"""

import sys
from decimal import ROUND_HALF_EVEN, Decimal

from msgspec import structs
from tracebook.conformance import (
    BookSnapshot,
    BookState,
    ConformanceConfig,
    EngineMetadata,
    Observation,
    Outcome,
    RestingOrder,
    TradeFill,
    canonical_decimal,
    serve_stdio,
)
from tracebook.core.order import NO_OWNER, OrderSide, OrderType, SelfTradePolicy
from tracebook.events import MarketEvent

from matching.engine import (
    INTEGER_MAX,
    AmendOrder,
    CancelOrder,
    Event,
    Instructions,
    OrderBook,
    OrderKind,
    PlaceOrder,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
    instructions_of,
)
from matching.engine.level import QueuedOrder

LOT_SIZE = Decimal("0.000000000001")  # the suite's quantities have 12 decimals
SIDES = {OrderSide.BUY: Side.BUY, OrderSide.SELL: Side.SELL}
TIMES_IN_FORCE = {
    OrderType.LIMIT: TimeInForce.GTC,
    OrderType.MARKET: TimeInForce.GTC,
    OrderType.IOC: TimeInForce.IOC,
    OrderType.FOK: TimeInForce.FOK,
}
PREVENTIONS = {
    SelfTradePolicy.NONE: SelfTradePrevention.NONE,
    SelfTradePolicy.CANCEL_RESTING: SelfTradePrevention.CANCEL_MAKER,
    SelfTradePolicy.CANCEL_INCOMING: SelfTradePrevention.CANCEL_TAKER,
}


class Refused(Exception):
    """The event is refused. The message is the suite's code of the reason."""


class EngineAdapter:
    """Applies the suite's events to one OrderBook for each symbol."""

    metadata = EngineMetadata("tradepost", "0.1.0", "Python")

    def __init__(self, config: ConformanceConfig) -> None:
        if config.matching_algorithm != "fifo":
            raise ValueError(f"matching_algorithm={config.matching_algorithm!r}: expected fifo")
        self._tick_size = Decimal(canonical_decimal(config.tick_size))
        self._prevention = PREVENTIONS[config.self_trade_policy]
        self._books: dict[str, OrderBook] = {}

    def apply(self, event: MarketEvent, index: int) -> Observation:
        """Apply one event, and return the outcome, the trades and a hash of the book."""
        outcome, events = Outcome("applied"), []
        try:
            events = self._apply(event)
        except Refused as refusal:
            outcome = Outcome("rejected", str(refusal))
        trades = tuple(self._fill(event.symbol, one) for one in events if isinstance(one, Trade))
        state = self.snapshot()
        return Observation(index, outcome, trades, state.digest(), state.order_count)

    def snapshot(self) -> BookState:
        """Return all resting orders, in the order in which they would trade."""
        return BookState(
            tuple(
                BookSnapshot(
                    symbol,
                    tuple(self._resting(one) for level in book._bids.in_order() for one in level),
                    tuple(self._resting(one) for level in book._asks.in_order() for one in level),
                )
                for symbol, book in sorted(self._books.items())
            )
        )

    def close(self) -> None:
        """Nothing is open."""

    def _apply(self, event: MarketEvent) -> list[Event]:
        if event.op in ("new", "clear"):
            book = self._books.setdefault(event.symbol, OrderBook())
            return self._place(book, event) if event.op == "new" else clear(book)
        book = self._books.get(event.symbol, OrderBook())
        queued = book._orders.get(str(event.order_id))
        if queued is None:
            raise Refused("ORDER_NOT_ACTIVE")
        if event.op == "cancel":
            return book.process(cancel_of(queued))
        return (
            self._reduce(book, queued, event) if event.op == "reduce" else self._replace(book, queued, event)
        )

    def _place(self, book: OrderBook, event: MarketEvent) -> list[Event]:
        assert event.side is not None
        if book.contains(str(event.order_id)):
            raise Refused("DUPLICATE_ORDER_ID")
        is_market = event.order_type is OrderType.MARKET
        order = PlaceOrder(
            str(event.order_id),
            str(event.owner),
            SIDES[event.side],
            OrderKind.MARKET if is_market else OrderKind.LIMIT,
            0 if is_market else self._ticks(event.price, "INVALID_ORDER"),
            lots(event.quantity, "INVALID_ORDER"),
            self._instructions(event),
        )
        return book.process(order)

    def _instructions(self, event: MarketEvent) -> Instructions:
        prevention = SelfTradePrevention.NONE if event.owner == NO_OWNER else self._prevention
        return instructions_of(TIMES_IN_FORCE[event.order_type], False, prevention)

    def _reduce(self, book: OrderBook, queued: QueuedOrder, event: MarketEvent) -> list[Event]:
        order, taken_lots = queued.order, lots(event.quantity, "INVALID_ORDER")
        if taken_lots > queued.remaining_lots:
            raise Refused("INVALID_ORDER")
        if taken_lots == queued.remaining_lots:
            return book.process(cancel_of(queued))
        left_lots = order.quantity_lots - taken_lots
        return book.process(AmendOrder(order.order_id, order.client_id, quantity_lots=left_lots))

    def _replace(self, book: OrderBook, queued: QueuedOrder, event: MarketEvent) -> list[Event]:
        order, code = queued.order, "INVALID_REPLACEMENT"
        price_ticks = order.price_ticks if event.price is None else self._ticks(event.price, code)
        new_lots = queued.remaining_lots if event.quantity is None else lots(event.quantity, code)
        if price_ticks != order.price_ticks or new_lots > queued.remaining_lots:
            total_lots = order.quantity_lots - queued.remaining_lots + new_lots
            return book.process(AmendOrder(order.order_id, order.client_id, price_ticks, total_lots))
        return enter_again(book, queued, new_lots)

    def _ticks(self, price: float | None, code: str) -> int:
        ticks = int((Decimal(str(price)) / self._tick_size).quantize(Decimal(1), ROUND_HALF_EVEN))
        if ticks <= 0:
            raise Refused(code)
        return ticks

    def _fill(self, symbol: str, trade: Trade) -> TradeFill:
        buyer, seller = trade.taker, trade.maker
        if buyer.side is Side.SELL:
            buyer, seller = seller, buyer
        price = canonical_decimal(trade.price_ticks * self._tick_size)
        quantity = canonical_decimal(trade.quantity_lots * LOT_SIZE)
        return TradeFill(symbol, int(buyer.order_id), int(seller.order_id), price, quantity)

    def _resting(self, queued: QueuedOrder) -> RestingOrder:
        order = queued.order
        price = canonical_decimal(order.price_ticks * self._tick_size)
        remaining = canonical_decimal(queued.remaining_lots * LOT_SIZE)
        return RestingOrder(int(order.order_id), price, remaining, int(order.client_id))


def lots(quantity: float | None, code: str) -> int:
    """Return the quantity in lots, or refuse the event with this code."""
    whole = Decimal(str(quantity)) / LOT_SIZE
    if whole != int(whole) or not 0 < whole <= INTEGER_MAX:
        raise Refused(code)
    return int(whole)


def cancel_of(queued: QueuedOrder) -> CancelOrder:
    """Return the command that cancels a resting order."""
    return CancelOrder(queued.order.order_id, queued.order.client_id)


def enter_again(book: OrderBook, queued: QueuedOrder, new_lots: int) -> list[Event]:
    """Cancel a resting order, and place it again with this quantity."""
    new = structs.replace(queued.order, quantity_lots=new_lots)
    return [*book.process(cancel_of(queued)), *book.process(new)]


def clear(book: OrderBook) -> list[Event]:
    """Cancel all orders."""
    return [event for queued in list(book._orders.values()) for event in book.process(cancel_of(queued))]


if __name__ == "__main__":
    sys.exit(serve_stdio(EngineAdapter))
