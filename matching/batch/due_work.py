"""What a batch does in its books: what is due before its first command, and how it runs commands.

A batch has one time. What is due at that time comes first: orders expire, dead man's switches run
out, and guards end whose API process shows no sign of life. Then triggered orders enter their books
that an earlier batch had no room for.

If a batch has no room for everything, the rest follows in the next batches.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from django.conf import settings

from base.times import unix_milliseconds
from matching import engine
from matching.batch.bounds import Bounds
from matching.batch.deadlines import Expiry, Switch
from matching.batch.market_book import MarketBook, PartitionState
from matching.batch.recording import Recording


class DueWork(Recording):
    """A batch without its commands."""

    def __init__(self, state: PartitionState, now: datetime) -> None:
        super().__init__(state, now)
        self.now_ms = unix_milliseconds(now)
        self.switches: dict[str, datetime | None] = {}  # changed switches by client; None: removed
        self._bounds = Bounds.of_settings()
        self._trades_max: int = settings.WORKER_BATCH_TRADES_MAX
        self._cancels_left: int = settings.WORKER_BATCH_CANCELS_MAX
        self._triggered_max: int = settings.WORKER_BATCH_TRIGGERED_MAX
        self._order_trades_max: int = settings.ORDER_TRADES_MAX
        self._entered: Counter[str] = Counter()  # triggered orders by symbol

    @property
    def is_full(self) -> bool:
        """Whether the batch has too many effects to run another command before the commit."""
        return len(self.trades) >= self._trades_max or self._cancels_left <= 0

    def start(self, ending: Collection[str] = ()) -> None:
        """Do what is due, then let triggered orders enter that an earlier batch left waiting.

        `ending` names the connections whose guards end. If the batch is full, a guard remains, and
        must be named again.
        """
        while (due := self._state.deadlines.next_due(self.now_ms)) is not None and not self.is_full:
            if isinstance(due, Expiry):
                self._expire(due)
            else:
                self._fire(due)
        for connection_id in ending:
            if not self.is_full:
                self._end_guard(connection_id)
        for symbol in list(self._state.unfinished):
            market = self._state.books.get(symbol)
            if market is None:
                del self._state.unfinished[symbol]
            elif not self.is_full:
                self._enter_triggered(market)

    def _expire(self, expiry: Expiry) -> None:
        market = self._state.books.get(expiry.symbol)
        order = None if market is None else market.book.find(expiry.order_id)
        if market is None or order is None:  # the instrument has moved to another partition
            self.remove_expiry(expiry.order_id)
            return
        self._take_off(market, order, engine.CancelReason.EXPIRED)

    def _fire(self, switch: Switch) -> None:
        """Cancel the orders of the switch's client, and disarm it unless the batch is full."""
        self._cancel_of_client(switch.client_id, engine.CancelReason.CANCEL_AFTER)
        if not self.is_full:
            self.set_switch(switch.client_id, None)
            self.switches[switch.client_id] = None

    def _end_guard(self, connection_id: str) -> None:
        """Cancel the orders of all guarded clients, and remove the guard unless the batch is full."""
        guard = self._state.guards.get(connection_id)
        if guard is None:
            return
        for client_id in guard.client_ids:
            self._cancel_of_client(client_id, engine.CancelReason.DISCONNECTED)
        if not self.is_full:
            self.set_guard(connection_id, None)

    def _cancel_of_client(self, client_id: str, reason: engine.CancelReason) -> None:
        """Cancel the client's orders until the batch is full."""
        for market in self._state.books.values():
            for order_id in market.orders.of(client_id):
                if self.is_full:
                    return
                order = market.book.find(order_id)
                if order is not None:
                    self._take_off(market, order, reason)

    def _take_off(self, market: MarketBook, order: engine.PlaceOrder, reason: engine.CancelReason) -> None:
        self._cancels_left -= 1
        refusal = self._process(market, engine.CancelOrder(order.order_id, order.client_id, reason))
        if refusal is not None:
            raise ValueError(f"order_id={order.order_id}: the book refuses to cancel it: {refusal}")

    def _process(
        self,
        market: MarketBook,
        command: engine.PlaceOrder | engine.CancelOrder | engine.AmendOrder,
    ) -> str | None:
        """Run a command in its book, and record its events.

        Returns the reason why the book refused the command, or None.
        """
        book = market.book
        sequence, last_price_ticks = book.sequence, book.last_price_ticks
        events = book.process(command, self._order_trades_max)
        if events and isinstance(events[0], engine.CommandRejected):
            return events[0].reason.value
        self.record(market, events, previous_sequence=sequence, last_price_ticks=last_price_ticks)
        if events and isinstance(events[-1], engine.OrderTriggered):
            self._enter_triggered(market)
        return None

    def _enter_triggered(self, market: MarketBook) -> None:
        """Let triggered orders enter the book, until none is left or the batch has enough."""
        book, symbol = market.book, market.instrument.symbol
        while (order := book.next_triggered) is not None:
            if self.is_full or self._entered[symbol] >= self._triggered_max:
                break
            self._entered[symbol] += 1
            sequence, last_price_ticks = book.sequence, book.last_price_ticks
            refusal = self._bounds.resting_refusal(market, order)
            reason = None if refusal is None else engine.CancelReason(refusal)
            events = book.enter_triggered(self._order_trades_max, reason)
            self.record(market, events, previous_sequence=sequence, last_price_ticks=last_price_ticks)
        self._state.note_triggered(market)
