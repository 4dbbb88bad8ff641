"""Encodes a committed batch: replies to the API processes, and market data for the stream."""

from bisect import bisect_left
from collections.abc import Iterable

from django.conf import settings

from base.documents import Number
from base.encoding import encode_json
from base.times import time_text
from instruments.grid import Grid
from marketdata.checksum import CHECKSUM_LEVELS, levels_checksum
from marketdata.messages import MarketBatch, TradeMessage
from matching import engine
from matching.batch.batch import Batch
from matching.batch.effects import SIDE_NAMES, BookChange, NewOrder, OrderChange, TradeRow
from matching.batch.market_book import MarketBook
from matching.commit.orders import ChangedOrder
from matching.commit.statement import CommitResult
from orders.documents import FillDocument, OrderDocument, OrderState, stored_state
from orders.messages import AmendCommand, CancelCommand, Reply, ReplyKind

TRADES_IN_UPDATE_MAX = 50
"""An order with at most this many trades has one document for its reply and its update to the
stream, which ignores the trades. With more trades, a second document without them is cheaper."""


def order_documents(batch: Batch) -> dict[str, bytes]:
    """Return the JSON of a batch's new orders, as REST shows them after the batch, by order id."""
    timestamp, fills_max = time_text(batch.now), settings.ORDER_TRADES_SHOWN_MAX
    return {
        order_id: encode_json(_order_document(order, timestamp, fills_max))
        for order_id, order in batch.orders.items()
    }


def replies(batch: Batch, orders: dict[str, bytes], result: CommitResult) -> dict[str, list[Reply]]:
    """Return all replies of a batch, by API process. `orders` comes from `order_documents`."""
    grouped = {process: list(its_replies) for process, its_replies in batch.replies.items()}
    for order_id, order in batch.orders.items():
        reply = Reply(order_id, ReplyKind.PLACED, orders[order_id])
        grouped.setdefault(order.command.reply_to, []).append(reply)
    if batch.cancelled or batch.amended:
        changed = {row.order_id: row for row in result.changed}
        for kind, commands in ((ReplyKind.CANCELLED, batch.cancelled), (ReplyKind.AMENDED, batch.amended)):
            for command in commands:
                body = orders.get(command.order_id) or _changed_document(command, changed)
                grouped.setdefault(command.reply_to, []).append(Reply(command.request_id, kind, body))
    return grouped


def _changed_document(command: CancelCommand | AmendCommand, changed: dict[str, ChangedOrder]) -> bytes:
    """Return an order of an earlier batch as REST shows it.

    Returns empty bytes if the order has fills or was not changed, because only the database knows
    it then.
    """
    row = changed.get(command.order_id)
    if row is None or row.filled_quantity:
        return b""
    return encode_json(OrderDocument(**stored_state(row, command.instrument), trades=[]))


def market_batches(result: CommitResult, batch: Batch, orders: dict[str, bytes]) -> list[MarketBatch]:
    """Return the messages of each book with changes or order updates, in order of sequence.

    `orders` comes from `order_documents`. A book has one message for each of its BookChanges, and
    each message starts at the sequence at which the previous message ended. An order's update is in
    the message with the order's last change.
    """
    timestamp = time_text(batch.now)
    messages: dict[int, list[MarketBatch]] = {}  # by instrument
    for change in batch.book_changes:
        messages.setdefault(change.instrument.instrument_id, []).append(_book_batch(change, timestamp))
    for instrument_id, minute in result.minutes.items():
        messages[instrument_id][-1].minute = minute
    for order_id, order in batch.orders.items():
        book_messages = _messages_of(messages, order, timestamp)
        document = orders[order_id]
        if len(order.trades) > TRADES_IN_UPDATE_MAX:
            document = encode_json(_without_trades(order, timestamp))
        message = _first_reaching(book_messages, order.sequence)
        message.orders.append((order.command.client_id, order.sequence, document))
    for row in result.changed:
        book_messages = _messages_of(messages, batch.changes[row.order_id], timestamp)
        message = _first_reaching(book_messages, row.sequence)
        state = encode_json(OrderState(**stored_state(row, message.instrument)))
        message.orders.append((row.client_id, row.sequence, state))
    return [message for book_messages in messages.values() for message in book_messages]


def _messages_of(
    messages: dict[int, list[MarketBatch]], order: NewOrder | OrderChange, timestamp: str
) -> list[MarketBatch]:
    """Return the messages of the order's book. If the batch did not change it, there is one."""
    instrument = order.instrument
    book_messages = messages.get(instrument.instrument_id)
    if book_messages is None:
        unchanged = BookChange(instrument, order.sequence, order.sequence)
        book_messages = messages[instrument.instrument_id] = [_book_batch(unchanged, timestamp)]
    return book_messages


def _first_reaching(messages: list[MarketBatch], sequence: int) -> MarketBatch:
    """Return the first of a book's messages that reaches the sequence. O(log messages)."""
    if len(messages) == 1:
        return messages[0]
    return messages[bisect_left(messages, sequence, key=lambda message: message.sequence)]


def heartbeat_batch(market: MarketBook) -> MarketBatch:
    """Return the book heartbeat: the book's sequence and checksum."""
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
        trades=[encode_json(_trade_message(trade, timestamp)).decode() for trade in change.trades],
        orders=[],
        parties=[
            (
                trade.event.maker.order_id,
                trade.event.maker.client_id,
                trade.event.taker.order_id,
                trade.event.taker.client_id,
            )
            for trade in change.trades
        ],
    )


def _trade_message(trade: TradeRow, timestamp: str) -> TradeMessage:
    event, grid = trade.event, trade.instrument.grid
    return TradeMessage(
        instrument=trade.instrument.symbol,
        trade_id=trade.trade_id,
        sequence=event.sequence,
        price=grid.price.number(event.price_ticks),
        quantity=grid.quantity.number(event.quantity_lots),
        side=SIDE_NAMES[event.taker.side],
        timestamp=timestamp,
    )


def _fills(order: NewOrder, timestamp: str, fills_max: int) -> Iterable[FillDocument]:
    """Yield the last `fills_max` fills of an order."""
    grid = order.instrument.grid
    for trade in order.trades[max(0, len(order.trades) - fills_max) :]:
        event = trade.event
        yield FillDocument(
            trade_id=trade.trade_id,
            price=grid.price.number(event.price_ticks),
            quantity=grid.quantity.number(event.quantity_lots),
            side=SIDE_NAMES[event.taker.side],
            liquidity="taker" if event.taker.order_id == order.command.order_id else "maker",
            timestamp=timestamp,
        )


def _order_document(order: NewOrder, timestamp: str, fills_max: int) -> OrderDocument:
    """Return an order of the batch as REST shows it, with its last `fills_max` fills."""
    command, grid = order.command, order.instrument.grid
    return OrderDocument(
        order_id=command.order_id,
        client_id=command.client_id,
        instrument=order.instrument.symbol,
        side=command.side,
        order_type=command.order_type,
        price=grid.price.number(order.price_ticks) if order.price_ticks else None,
        quantity=grid.quantity.number(order.quantity_lots),
        filled_quantity=grid.quantity.number(order.filled_lots),
        remaining_quantity=grid.quantity.number(
            order.quantity_lots - order.filled_lots - order.prevented_lots
        ),
        average_price=_average_price(order, grid),
        status=order.status,
        reason=order.reason,
        idempotency_key=command.idempotency_key,
        time_in_force=command.time_in_force,
        expires_at=None if order.expires_at is None else time_text(order.expires_at),
        post_only=command.post_only,
        self_trade_prevention=command.self_trade_prevention,
        prevented_quantity=grid.quantity.number(order.prevented_lots),
        trigger_price=grid.price.number(order.trigger_price_ticks) if order.trigger_price_ticks else None,
        triggered_at=timestamp if order.is_triggered else None,
        created_at=timestamp,
        updated_at=timestamp,
        trades=list(_fills(order, timestamp, fills_max)) if order.trades else [],
        trades_complete=len(order.trades) <= fills_max,
    )


def _without_trades(order: NewOrder, timestamp: str) -> OrderState:
    document = _order_document(order, timestamp, fills_max=0)
    return OrderState(**{name: getattr(document, name) for name in OrderState.__struct_fields__})


def _average_price(order: NewOrder, grid: Grid) -> Number | None:
    if not order.filled_lots:
        return None
    if len(order.trades) == 1:
        return grid.price.number(order.trades[0].event.price_ticks)
    return grid.average_price(order.filled_notional, order.filled_lots)
