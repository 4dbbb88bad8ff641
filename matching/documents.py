"""What a committed batch says to the world: replies to the API processes, and market data for the stream."""

from collections import defaultdict
from collections.abc import Iterable

from marketdata.checksum import CHECKSUM_LEVELS, levels_checksum
from marketdata.messages import MarketBatch, TradeMessage
from matching import engine
from matching.batch import SIDE_NAMES, Batch, BookChange, NewOrder, TradeRow
from matching.recovery import MarketBook
from matching.settlement import Settled
from orders.documents import FillDocument, OrderDocument, OrderState, stored_state
from orders.grid import Grid
from orders.messages import Reply, ReplyKind, encode
from rest.content import encode_json
from rest.numbers import Number
from rest.times import time_text


class Description:
    """What a batch says to the world. `prepare` can do without the database, and is nearly all of the work."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._news: dict[int, MarketBatch] = {}  # by instrument
        self.replies: dict[str, bytes] = {}  # by API process, encoded

    def prepare(self) -> None:
        """Everything that follows from the batch alone."""
        batch, timestamp = self._batch, time_text(self._batch.now)
        news = self._news = {
            change.instrument.instrument_id: _book_batch(change, timestamp) for change in batch.books.values()
        }
        for trade in batch.trades:
            text = encode_json(_trade_message(trade, timestamp)).decode()
            news[trade.instrument.instrument_id].trades.append(text)
        replies = defaultdict(list, {process: list(some) for process, some in batch.replies.items()})
        for order_id, order in batch.orders.items():
            document = encode_json(_order_document(order, timestamp))
            replies[order.command.reply_to].append(Reply(order_id, ReplyKind.PLACED, document))
            message = news.get(order.instrument.instrument_id)
            if message is None:  # it has left its book as it was
                unchanged = BookChange(order.instrument, order.sequence, order.sequence)
                message = news[order.instrument.instrument_id] = _book_batch(unchanged, timestamp)
            message.orders.append((order.command.client_id, order.sequence, document))
        self.replies = {process: encode(some) for process, some in replies.items()}

    def market_batches(self, settled: Settled) -> list[MarketBatch]:
        """One message for each book that has news. To be asked once, after `prepare`."""
        for instrument_id, minute in settled.minutes.items():
            self._news[instrument_id].minute = minute
        for row in settled.changed:
            message = self._news[row.instrument_id]
            state = encode_json(OrderState(**stored_state(row, message.instrument)))
            message.orders.append((row.client_id, row.sequence, state))
        return list(self._news.values())


def heartbeat_batch(market: MarketBook) -> MarketBatch:
    """Tells the feeds the sequence that they should have reached, and proves the book there."""
    sequence = market.book.sequence
    bids, asks = market.book.depth(CHECKSUM_LEVELS)
    return MarketBatch(
        instrument=market.instrument.symbol,
        previous_sequence=sequence,
        sequence=sequence,
        checksum=levels_checksum(bids, asks, market.instrument.grid),
    )


def _book_batch(change: BookChange, timestamp: str) -> MarketBatch:
    return MarketBatch(
        instrument=change.instrument.symbol,
        previous_sequence=change.previous_sequence,
        sequence=change.sequence,
        timestamp=timestamp,
        levels=[
            (SIDE_NAMES[side], ticks, lots if lots <= engine.INTEGER_MAX else str(lots), orders)
            for (side, ticks), (lots, orders) in change.levels.items()
        ],
        trades=[],
        orders=[],
    )


def _trade_message(trade: TradeRow, timestamp: str) -> TradeMessage:
    event, grid = trade.event, trade.instrument.grid
    return TradeMessage(
        instrument=trade.instrument.symbol,
        trade_id=trade.trade_id,
        sequence=event.sequence,
        price=grid.price.number(event.price_ticks),
        quantity=grid.quantity.number(event.quantity_lots),
        side=SIDE_NAMES[event.taker_side],
        timestamp=timestamp,
    )


def _fills(order: NewOrder, timestamp: str) -> Iterable[FillDocument]:
    grid = order.instrument.grid
    for trade in order.trades:
        event = trade.event
        yield FillDocument(
            trade_id=trade.trade_id,
            price=grid.price.number(event.price_ticks),
            quantity=grid.quantity.number(event.quantity_lots),
            side=SIDE_NAMES[event.taker_side],
            liquidity="taker" if event.taker_order_id == order.command.order_id else "maker",
            timestamp=timestamp,
        )


def _order_document(order: NewOrder, timestamp: str) -> OrderDocument:
    command, grid = order.command, order.instrument.grid
    return OrderDocument(
        order_id=command.order_id,
        client_id=command.client_id,
        instrument=order.instrument.symbol,
        side=command.side,
        order_type=command.type,
        price=grid.price.number(command.price_ticks) if command.price_ticks else None,
        quantity=grid.quantity.number(command.quantity_lots),
        filled_quantity=grid.quantity.number(order.filled_lots),
        remaining_quantity=grid.quantity.number(command.quantity_lots - order.filled_lots),
        average_price=_average_price(order, grid),
        status=order.status,
        reason=order.reason,
        idempotency_key=command.idempotency_key,
        created_at=timestamp,
        updated_at=timestamp,
        trades=list(_fills(order, timestamp)),
    )


def _average_price(order: NewOrder, grid: Grid) -> Number | None:
    if not order.filled_lots:
        return None
    if len(order.trades) == 1:
        return grid.price.number(order.trades[0].event.price_ticks)
    return grid.average_price(order.filled_notional, order.filled_lots)
