"""One batch: runs commands through the books and collects the resulting rows and replies.

Everything is derived from the engine's events. An order that is placed and changed in the same
batch is written once, in its last state. Orders from earlier batches are changed by difference.
Nothing here does I/O.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import msgspec
import uuid_utils
from django.conf import settings

from instruments.directory import TradedInstrument
from matching import engine
from matching.batch.bounds import Bounds
from matching.batch.effects import BookChange, CandleChange, NewOrder, OrderChange, TradeRow
from matching.batch.market_book import MarketBook
from orders import messages
from orders.messages import Reply, ReplyKind
from orders.models import OrderSide, OrderType, Reason

_SIDES = {OrderSide.BUY.value: engine.Side.BUY, OrderSide.SELL.value: engine.Side.SELL}
_TYPES = {OrderType.LIMIT.value: engine.OrderKind.LIMIT, OrderType.MARKET.value: engine.OrderKind.MARKET}
_BUY, _SELL = engine.Side.BUY, engine.Side.SELL

Key = tuple[str, str]  # client id, idempotency key


def keys_of(commands: Sequence[messages.Command]) -> list[Key]:
    """Return the idempotency keys of these commands."""
    return [
        (command.client_id, command.idempotency_key)
        for command in commands
        if isinstance(command, messages.PlaceCommand) and command.idempotency_key is not None
    ]


class Batch:
    """Runs commands and collects their effects. `undo` takes the effects back.

    If `run` or `undo` raises, the books must be loaded again.
    """

    def __init__(self, books: dict[str, MarketBook], known_keys: dict[Key, str], now: datetime) -> None:
        self.now = now
        self._bounds = Bounds.of_settings()
        self._trades_max: int = settings.WORKER_BATCH_TRADES_MAX
        self._order_trades_max: int = settings.ORDER_TRADES_MAX
        self._changes_max: int = settings.MARKET_MESSAGE_CHANGES_MAX
        self.orders: dict[str, NewOrder] = {}
        self.changes: dict[str, OrderChange] = {}
        self.trades: list[TradeRow] = []
        self.candles: dict[int, CandleChange] = {}  # by instrument id, for the minute of `now`
        # A book may have several changes. Each starts at the sequence where the one before ended.
        self.book_changes: list[BookChange] = []
        self.books: dict[str, BookChange] = {}  # the last change of each book, by symbol
        # By API process. PLACED and CANCELLED replies are made after the commit.
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        self.commands = 0  # how many were run
        self.cancelled: list[messages.CancelCommand] = []  # the cancels that succeeded
        self.instruments_changed = False
        self._books = books
        self._known_keys = known_keys
        self.events: list[tuple[MarketBook, list[engine.Event]]] = []  # by command, for `undo`

    @property
    def is_full(self) -> bool:
        """Whether the batch has too many trades to run another command before the commit."""
        return len(self.trades) >= self._trades_max

    def run(self, command: messages.Command) -> None:
        """Carry out one command. Raises ValueError, as the engine does, if it is impossible."""
        self.commands += 1
        if isinstance(command, messages.PlaceCommand):
            self._place(command)
        elif isinstance(command, messages.CancelCommand):
            self._cancel(command)
        elif isinstance(command, messages.InspectBooks):
            states = {
                symbol: messages.BookState(market.book.sequence, market.book.state_hash())
                for symbol, market in self._books.items()
            }
            self._add_reply(command, ReplyKind.DONE, msgspec.json.encode(states))
        else:
            self.instruments_changed = True
            self._add_reply(command, ReplyKind.DONE)

    def undo(self) -> None:
        """Restore the books to their state before the first command."""
        for market, events in reversed(self.events):
            market.undo(events)

    def fail(self, command: messages.Command, message: str) -> None:
        """Answer a command that was not carried out."""
        self._add_reply(command, ReplyKind.FAILED, message.encode())

    def _add_reply(self, command: messages.Command, kind: ReplyKind, body: bytes = b"") -> None:
        self.replies[command.reply_to].append(Reply(command.request_id, kind, body))

    def _place(self, command: messages.PlaceCommand) -> None:
        market = self._books.get(command.instrument)
        if market is None:
            self.fail(command, "This partition does not trade the instrument.")
            return
        if command.idempotency_key is not None:
            key = (command.client_id, command.idempotency_key)
            earlier = self._known_keys.setdefault(key, command.order_id)
            if earlier != command.order_id:
                self._add_reply(command, ReplyKind.DUPLICATE, earlier.encode())
                return
        order = self.orders[command.order_id] = NewOrder(command, market.instrument)
        if market.instrument.halted:
            order.reject(Reason.INSTRUMENT_HALTED.value, market.book.sequence)
            return
        placed = engine.PlaceOrder(
            order_id=command.order_id,
            client_id=command.client_id,
            side=_SIDES[command.side],
            kind=_TYPES[command.order_type],
            price_ticks=command.price_ticks,
            quantity_lots=command.quantity_lots,
        )
        refusal = self._bounds.refusal(market, placed)
        if refusal is not None:
            order.reject(refusal, market.book.sequence)
            return
        self._process_in_book(market, placed)

    def _cancel(self, command: messages.CancelCommand) -> None:
        market = self._books.get(command.instrument)
        owner = None if market is None else market.book.owner(command.order_id)
        if market is None or owner is None:
            # The instrument may have moved to another partition. The desk finds out which.
            self._add_reply(command, ReplyKind.NOT_OPEN)
            return
        if command.client_id not in ("", owner):
            self._add_reply(command, ReplyKind.NOT_OPEN, messages.NOT_OWNER)
            return
        reason = engine.CancelReason.OPERATOR if command.by_operator else engine.CancelReason.CLIENT_REQUEST
        self._process_in_book(market, engine.CancelOrder(command.order_id, owner, reason))
        self.cancelled.append(command)

    def _process_in_book(self, market: MarketBook, command: engine.PlaceOrder | engine.CancelOrder) -> None:
        """Run a command in its book, and apply each event to the orders that the event names.

        Raises ValueError if the book rejects the command, which the callers' checks prevent.
        """
        previous_sequence = market.book.sequence
        events = market.book.process(command, self._order_trades_max)
        self.events.append((market, events))
        open_orders = market.open_orders
        for event in events:
            if isinstance(event, engine.Trade):
                if not event.maker_remaining_lots:
                    open_orders.remove(event.maker_client_id)
                maker_side = _SELL if event.taker_side is _BUY else _BUY
                change = self._record_level(market, previous_sequence, event, maker_side)
                change.trades.append(self._record_trade(event, market.instrument))
            elif isinstance(event, engine.OrderRested):
                self.orders[event.order_id].rest(event.sequence)
                open_orders.add(event.client_id)
                self._record_level(market, previous_sequence, event, event.side)
            elif isinstance(event, engine.OrderCancelled):
                self._order_effect(event.order_id, market.instrument).cancel(event.reason, event.sequence)
                open_orders.remove(event.client_id)
                self._record_level(market, previous_sequence, event, event.side)
            elif isinstance(event, engine.RemainderCancelled):
                self.orders[event.order_id].cancel(event.reason, market.book.sequence)
            else:
                raise ValueError(f"order_id={event.order_id}: {event}")

    def _record_trade(self, event: engine.Trade, instrument: TradedInstrument) -> TradeRow:
        """Record a trade in its two orders and in the minute's candle."""
        trade = TradeRow(str(uuid_utils.uuid7()), instrument, event)
        self.trades.append(trade)
        self.orders[event.taker_order_id].fill(trade)
        self._order_effect(event.maker_order_id, instrument).fill(trade)
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

    def _order_effect(self, order_id: str, instrument: TradedInstrument) -> NewOrder | OrderChange:
        """Return a new order of this batch, or this batch's difference to an earlier order."""
        order = self.orders.get(order_id) or self.changes.get(order_id)
        if order is None:
            order = self.changes[order_id] = OrderChange(instrument)
        return order

    def _record_level(
        self,
        market: MarketBook,
        previous_sequence: int,
        event: engine.Trade | engine.OrderRested | engine.OrderCancelled,
        side: engine.Side,
    ) -> BookChange:
        symbol = market.instrument.symbol
        change = self.books.get(symbol)
        if change is None or change.sequence - change.previous_sequence >= self._changes_max:
            previous = previous_sequence if change is None else change.sequence
            change = self.books[symbol] = BookChange(market.instrument, previous, event.sequence)
            self.book_changes.append(change)
        change.sequence = event.sequence
        change.levels[side, event.price_ticks] = (event.level_quantity_lots, event.level_orders)
        return change
