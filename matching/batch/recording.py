"""Records the events of a batch as effects on orders, trades, candles and books.

Each event is applied to the orders that it names, which may belong to other clients and earlier
batches than the command. An order that is placed and changed in the same batch is written once, in
its last state. Orders from earlier batches are changed by difference. Nothing here does I/O.
"""

from collections.abc import Callable
from datetime import datetime

import uuid_utils
from django.conf import settings

from base.times import from_unix_milliseconds
from instruments.directory import TradedInstrument
from matching import engine
from matching.batch.deadlines import Expiry
from matching.batch.effects import BookChange, CandleChange, EventRow, NewOrder, OrderChange, TradeRow
from matching.batch.guards import Guard
from matching.batch.market_book import MarketBook, PartitionState
from orders.models import OrderEvent

_BUY, _SELL = engine.Side.BUY, engine.Side.SELL
_GTD = engine.TimeInForce.GTD
_SELF_TRADE = engine.CancelReason.SELF_TRADE.value

_ChangesLevel = (
    engine.Trade
    | engine.MatchPrevented
    | engine.OrderRested
    | engine.OrderCancelled
    | engine.OrderReduced
    | engine.OrderWithdrawn
)


class Recording:
    """The effects of a batch, and how to take them back."""

    def __init__(self, state: PartitionState, now: datetime) -> None:
        self.now = now
        self.orders: dict[str, NewOrder] = {}
        self.changes: dict[str, OrderChange] = {}
        self.trades: list[TradeRow] = []
        self.event_rows: list[EventRow] = []
        self.candles: dict[int, CandleChange] = {}  # by instrument id, for the minute of `now`
        # A book may have several changes. Each starts at the sequence where the one before ended.
        self.book_changes: list[BookChange] = []
        self.books: dict[str, BookChange] = {}  # the last change of each book, by symbol
        # The events of each command with the last trade's price before it, for `undo`.
        self.events: list[tuple[MarketBook, list[engine.Event], int | None]] = []
        self._state = state
        self._changes_max: int = settings.MARKET_MESSAGE_CHANGES_MAX
        # Of gtd orders that are about to enter a book: the time when they expire.
        self._due_ms: dict[str, int] = {}
        self.guards: dict[str, Guard | None] = {}  # changed guards by connection; None: ended
        self._undo_others: list[Callable[[], None]] = []  # changes of deadlines, guards and others

    def undo(self) -> None:
        """Restore the books and everything else to their state before the first command."""
        for market, events, last_price_ticks in reversed(self.events):
            market.undo(events, last_price_ticks)
            self._state.note_triggered(market)
        for undo in reversed(self._undo_others):
            undo()

    def record(
        self,
        market: MarketBook,
        events: list[engine.Event],
        *,
        previous_sequence: int,
        last_price_ticks: int | None,
    ) -> None:
        """Apply the events of one command.

        The other arguments are the book's sequence and last price before the command.
        """
        self.events.append((market, events, last_price_ticks))
        resting = market.orders.resting
        for event in events:
            if isinstance(event, engine.Trade):
                maker = event.maker
                if not event.maker_remaining_lots:
                    resting.remove(maker.client_id, maker.order_id)
                    self._forget_expiry(maker)
                change = self._record_level(market, previous_sequence, event, maker)
                change.trades.append(self._record_trade(event, market.instrument))
            elif isinstance(event, engine.OrderRested):
                order = event.order
                self._effect(order, market.instrument).rest(event.sequence)
                resting.add(order.client_id, order.order_id)
                self._keep_expiry(order, market, event.sequence)
                self._record_level(market, previous_sequence, event, order)
            else:
                market.orders.apply(event)
                self._record_other(event, market, previous_sequence)

    def _record_other(self, event: engine.Event, market: MarketBook, previous_sequence: int) -> None:
        if isinstance(event, engine.OrderCancelled | engine.OrderReduced | engine.OrderWithdrawn):
            self._record_resting(event, market.instrument)
            self._record_level(market, previous_sequence, event, event.order)
        elif isinstance(event, engine.MatchPrevented):
            self._record_prevented(event, market.instrument)
            self._record_level(market, previous_sequence, event, event.maker)
        elif isinstance(event, engine.RemainderCancelled):
            effect = self._effect(event.order, market.instrument)
            effect.cancel(event.reason.value, market.book.sequence)
        elif isinstance(event, engine.OrderEntered):
            self._effect(event.order, market.instrument).enter(event.order.quantity_lots)
            self._stash_expiry(event.order)
        elif isinstance(event, engine.CommandRejected):
            raise ValueError(f"order_id={event.order_id}: {event}")
        else:
            assert not isinstance(event, engine.Trade | engine.OrderRested)  # noqa: S101 - for the types
            self._record_waiting(event, market)
            self._book_change(market, previous_sequence, event.sequence)

    def _record_resting(
        self,
        event: engine.OrderCancelled | engine.OrderReduced | engine.OrderWithdrawn,
        instrument: TradedInstrument,
    ) -> None:
        effect = self._effect(event.order, instrument)
        if isinstance(event, engine.OrderCancelled):
            effect.cancel(event.reason.value, event.sequence)
            self._forget_expiry(event.order)
        elif isinstance(event, engine.OrderReduced):
            self._add_event_row(event.sequence, event.order, effect, OrderEvent.Kind.REDUCED)
            effect.amend(event.amended, event.sequence)
        else:
            self._add_event_row(
                event.sequence, event.order, effect, OrderEvent.Kind.WITHDRAWN, changes_priority=True
            )
            effect.amend(event.amended, event.sequence)
            effect.enter(event.remaining_lots + event.amended.quantity_lots - event.order.quantity_lots)
            self._stash_expiry(event.order)

    def _record_prevented(self, event: engine.MatchPrevented, instrument: TradedInstrument) -> None:
        maker = self._effect(event.maker, instrument)
        self._add_event_row(event.sequence, event.maker, maker, OrderEvent.Kind.PREVENTED)
        row = self.event_rows[-1]
        row.taker_order_id, row.prevented_lots = event.taker.order_id, event.quantity_lots
        maker.prevent(event.quantity_lots, event.sequence)
        if not event.maker_remaining_lots:
            maker.cancel(_SELF_TRADE, event.sequence)
            self._forget_expiry(event.maker)
        self._effect(event.taker, instrument).prevent(event.quantity_lots, event.sequence)

    def _record_waiting(
        self,
        event: engine.OrderWaits | engine.WaitingAmended | engine.WaitingCancelled | engine.OrderTriggered,
        market: MarketBook,
    ) -> None:
        order, sequence = event.order, event.sequence
        effect = self._effect(order, market.instrument)
        if isinstance(event, engine.OrderWaits):
            effect.wait(sequence)
            self._keep_expiry(order, market, sequence)
        elif isinstance(event, engine.WaitingCancelled):
            effect.cancel(event.reason.value, sequence)
            self._forget_expiry(order)
        elif isinstance(event, engine.OrderTriggered):
            self._add_event_row(sequence, order, effect, OrderEvent.Kind.TRIGGERED, changes_priority=True)
            effect.trigger(sequence)
            self._renumber_expiry(order, sequence)
        else:
            self._add_event_row(
                sequence,
                order,
                effect,
                OrderEvent.Kind.AMENDED,
                changes_priority=not event.keeps_place,
            )
            if event.keeps_place:
                effect.amend_in_place(event.amended, sequence)
            else:
                effect.amend(event.amended, sequence)
                effect.wait(sequence)
                self._renumber_expiry(order, sequence)

    def _add_event_row(
        self,
        sequence: int,
        order: engine.PlaceOrder,
        effect: NewOrder | OrderChange,
        kind: OrderEvent.Kind,
        *,
        changes_priority: bool = False,
    ) -> None:
        """Add the row of an event, before the event is applied to `effect`."""
        instrument = effect.instrument
        priority = effect.priority if changes_priority else None
        self.event_rows.append(EventRow(instrument, sequence, order, kind.value, changes_priority, priority))

    def _record_trade(self, event: engine.Trade, instrument: TradedInstrument) -> TradeRow:
        """Record a trade in its two orders and in the minute's candle."""
        trade = TradeRow(str(uuid_utils.uuid7()), instrument, event)
        self.trades.append(trade)
        self._effect(event.taker, instrument).fill_taker(trade)
        self._effect(event.maker, instrument).fill_maker(trade)
        price = event.price_ticks
        candle = self.candles.get(instrument.instrument_id)
        if candle is None:
            candle = self.candles[instrument.instrument_id] = CandleChange(
                instrument.grid, open_ticks=price, high_ticks=price, low_ticks=price
            )
        candle.high_ticks = max(candle.high_ticks, price)
        candle.low_ticks = min(candle.low_ticks, price)
        candle.close_ticks = price
        candle.volume_lots += event.quantity_lots
        candle.notional += price * event.quantity_lots
        candle.trade_count += 1
        return trade

    def _effect(self, order: engine.PlaceOrder, instrument: TradedInstrument) -> NewOrder | OrderChange:
        """Return a new order of this batch, or this batch's difference to an earlier order."""
        order_id = order.order_id
        effect = self.orders.get(order_id) or self.changes.get(order_id)
        if effect is None:
            effect = self.changes[order_id] = OrderChange(instrument)
        return effect

    def change_of(self, market: MarketBook, order_id: str) -> NewOrder | OrderChange:
        """Return the effect on an order whose change is not in the book's events."""
        order = market.book.find(order_id)
        if order is None:
            raise ValueError(f"order_id={order_id}: not in the book of {market.instrument.symbol}")
        effect = self._effect(order, market.instrument)
        effect.sequence = market.book.sequence
        return effect

    def _record_level(
        self, market: MarketBook, previous_sequence: int, event: _ChangesLevel, order: engine.PlaceOrder
    ) -> BookChange:
        """Record the new totals of the level in which the order rests or rested."""
        change = self._book_change(market, previous_sequence, event.sequence)
        change.levels[order.side, order.price_ticks] = (event.level_quantity_lots, event.level_orders)
        return change

    def _book_change(self, market: MarketBook, previous_sequence: int, sequence: int) -> BookChange:
        """Return the part of the book's changes that the sequence belongs to, and extend it."""
        symbol = market.instrument.symbol
        change = self.books.get(symbol)
        if change is None or change.sequence - change.previous_sequence >= self._changes_max:
            previous = previous_sequence if change is None else change.sequence
            change = self.books[symbol] = BookChange(market.instrument, previous, sequence)
            self.book_changes.append(change)
        change.sequence = sequence
        return change

    # --- Expiries of gtd orders -------------------------------------------------------------------

    def expires(self, order_id: str, due_ms: int) -> None:
        """Note the time at which a new order expires, before it enters its book."""
        self._due_ms[order_id] = due_ms

    def _keep_expiry(self, order: engine.PlaceOrder, market: MarketBook, sequence: int) -> None:
        """Have an order that came to rest or to wait expire."""
        if order.instructions.time_in_force is _GTD:
            self.set_expiry(
                Expiry(self._due_ms[order.order_id], sequence, market.instrument.symbol, order.order_id)
            )

    def set_expiry(self, expiry: Expiry) -> None:
        """Add an order's expiry, or replace it."""
        self._undo_others.append(self._state.deadlines.set_expiry(expiry))

    def set_switch(self, client_id: str, due_ms: int | None) -> None:
        """Add, replace or remove a client's dead man's switch."""
        self._undo_others.append(self._state.deadlines.set_switch(client_id, due_ms))

    def set_guard(self, connection_id: str, guard: Guard | None) -> None:
        """Add or replace the guard of a connection, or remove it if `guard` is None."""
        self.guards[connection_id] = guard
        self._undo_others.append(self._state.guards.set(connection_id, guard))

    def remove_expiry(self, order_id: str) -> None:
        """Remove an order's expiry."""
        self._undo_others.append(self._state.deadlines.remove_expiry(order_id))

    def _forget_expiry(self, order: engine.PlaceOrder) -> None:
        if order.instructions.time_in_force is _GTD:
            self.remove_expiry(order.order_id)

    def _stash_expiry(self, order: engine.PlaceOrder) -> None:
        """Keep an order's expiry while it enters the book again."""
        expiry = self._state.deadlines.expiry_of(order.order_id)
        if expiry is not None:
            self._due_ms[order.order_id] = expiry.due_ms
            self._forget_expiry(order)

    def _renumber_expiry(self, order: engine.PlaceOrder, sequence: int) -> None:
        """Give an order that entered again its new place among orders that expire together."""
        expiry = self._state.deadlines.expiry_of(order.order_id)
        if expiry is not None:
            self.set_expiry(expiry._replace(sequence=sequence))


def expiry_time(due_ms: int | None) -> datetime | None:
    """Return the time of an expiry, as it is stored."""
    return None if due_ms is None else from_unix_milliseconds(due_ms)
