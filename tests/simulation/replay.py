"""Repeats the changes that the rows of one instrument record, and checks that each was right.

The book is plain, like the one of tests/engine/reference.py, but it takes rows, not commands.
"""

from collections import Counter, defaultdict
from typing import Any

from django.conf import settings

from matching.engine import OrderKind, PlaceOrder, SelfTradePrevention, Side, Trade
from tests.simulation.breaches import require
from tests.simulation.database import Database
from tests.simulation.rows import Row, StoredEvent

# A cancel for one of these reasons takes an order off that rests or waits, and has a number.
# Otherwise the remainder of an order that has entered is cancelled, without a number.
TAKEN_OFF = ("client_request", "operator", "expired", "cancel_after", "disconnected")
ARRIVED, ENDED, TRADED = "arrived", "ended", "traded"


class Replay:
    """The state of one instrument at one number of its sequence."""

    def __init__(self, database: Database, symbol: str) -> None:
        self.symbol = symbol
        self.rows = {row.order_id: row for row in database.orders.values() if row.instrument.symbol == symbol}
        self.trades = [trade.event for trade in database.trades if trade.instrument.symbol == symbol]
        self.sequence = database.sequences[symbol]
        self.number = 0
        # Each order as it is at this number: at first, as it was before its first event.
        self.orders = {
            row.order_id: row.events[0].before if row.events else row.order() for row in self.rows.values()
        }
        self.priorities: dict[str, int] = {}
        self.book: dict[str, int] = {}  # remaining lots by order id
        self.taken: Counter[str] = Counter()  # lots that were filled or prevented
        self.waiting: set[str] = set()
        self.met: set[str] = set()  # waiting orders whose trigger a trade has met
        self.triggered: list[str] = []  # in their order
        self.taker = ""  # the last order that traded
        self.last_price: int | None = None

    def run(self) -> None:
        changes = self._changes()
        refused: defaultdict[int, list[Row]] = defaultdict(list)
        for row in self.rows.values():
            if row.status == "rejected" or row.reason in ("too_many_orders", "too_many_levels"):
                refused[row.sequence].append(row)
        self._require(not refused[0], "an empty book refused an order")
        for number in range(1, self.sequence + 1):
            self.number = number
            self._require(len(changes[number]) == 1, f"its changes are {changes[number]}")
            ((kind, change),) = changes[number]
            self._drop_silently_ended()
            getattr(self, f"_replay_{kind}")(change)
            for row in refused[number]:
                self._check_refusal(row)
        self._require(max(changes, default=0) <= self.sequence, "a change after the last sequence")
        self.number += 1
        self._drop_silently_ended()
        self._check_end()

    def _require(self, kept: object, message: str) -> None:
        require(kept, f"{self.symbol} {self.number}: {message}")

    def _changes(self) -> defaultdict[int, list[tuple[str, Any]]]:
        """Return the changes with each number, which must be one."""
        changes: defaultdict[int, list[tuple[str, Any]]] = defaultdict(list)
        for trade in self.trades:
            changes[trade.sequence].append((TRADED, trade))
        for row in self.rows.values():
            numbers = {event.sequence for event in row.events}
            for event in row.events:
                changes[event.sequence].append((event.kind, event))
            arrivals = {row.priority, *(event.priority for event in row.events)} - {None, *numbers}
            for arrival in arrivals:
                changes[arrival or 0].append((ARRIVED, row))
            if row.status == "cancelled" and row.priority and row.reason in TAKEN_OFF:
                changes[row.sequence].append((ENDED, row))
        for row in self.rows.values():
            # A maker that was taken off has a number. A taker and a reduced maker share another one.
            if row.reason == "self_trade" and _rested(row) and not changes[row.sequence]:
                changes[row.sequence].append((ENDED, row))
        return changes

    # --- The changes --------------------------------------------------------------------------------------

    def _replay_arrived(self, row: Row) -> None:
        """An order came to rest or to wait."""
        order_id, order = row.order_id, self.orders[row.order_id]
        was_triggered = any(one.kind == "triggered" and one.sequence < self.number for one in row.events)
        self.priorities[order_id] = self.number
        if order.waits and not was_triggered:
            self._check_new_command()
            self._require(not order.is_triggered_by(self.last_price), "waits, but is triggered already")
            self.waiting.add(order_id)
            return
        self._enter(order_id)
        remaining = order.quantity_lots - self.taken[order_id]
        self._require(remaining > 0, "nothing is left to rest")
        self._require(self._best_maker(order) is None, "the book is crossed")
        self.book[order_id] = remaining
        self._check_bounds(row)

    def _replay_traded(self, trade: Trade) -> None:
        maker_id, taker_id = trade.maker.order_id, trade.taker.order_id
        self._enter(taker_id)
        taker, maker = self.orders[taker_id], self.orders[maker_id]
        self._require(self._best_maker(taker) == maker_id, "the maker was not first in line")
        self._require(trade.price_ticks == maker.price_ticks, "not the maker's price")
        is_own = maker.client_id == taker.client_id
        prevention = taker.instructions.self_trade_prevention
        self._require(not is_own or prevention is SelfTradePrevention.NONE, "a self-trade")
        self.last_price = trade.price_ticks
        self.met |= {one for one in self.waiting if self.orders[one].is_triggered_by(trade.price_ticks)}
        self._take(maker_id, taker_id, trade.quantity_lots)

    def _replay_prevented(self, event: StoredEvent) -> None:
        maker_id, taker_id = event.order_id, event.taker_order_id or ""
        self._enter(taker_id)
        taker = self.orders[taker_id]
        self._require(self._best_maker(taker) == maker_id, "the maker was not first in line")
        self._require(taker.client_id == self.orders[maker_id].client_id, "not the same client")
        self._take(maker_id, taker_id, event.prevented_lots)

    def _replay_withdrawn(self, event: StoredEvent) -> None:
        self._check_new_command()
        self._require(self.book.pop(event.order_id, None), "the amended order did not rest")
        self._amend(event)
        self.taker = event.order_id

    def _replay_reduced(self, event: StoredEvent) -> None:
        self._check_new_command()
        self._require(event.order_id in self.book, "the reduced order did not rest")
        after = self._amend(event)
        self.book[event.order_id] -= event.before.quantity_lots - after.quantity_lots
        self._require(self.book[event.order_id] > 0, "nothing is left of the reduced order")

    def _replay_amended(self, event: StoredEvent) -> None:
        self._check_new_command()
        self._require(event.order_id in self.waiting, "the amended order did not wait")
        after = self._amend(event)
        if event.priority is not None:
            self.priorities[event.order_id] = self.number
            self._require(not after.is_triggered_by(self.last_price), "waits, but is triggered already")

    def _replay_triggered(self, event: StoredEvent) -> None:
        self._require(event.order_id in self.met, "no trade has triggered the order")
        self.met.remove(event.order_id)
        self.waiting.remove(event.order_id)
        self.triggered.append(event.order_id)

    def _replay_ended(self, row: Row) -> None:
        """An order that rested or waited was taken off."""
        if row.reason != "self_trade":
            self._require(not self.met, f"{self.met}: were met by a trade, and not triggered")
        if row.order_id in self.triggered:
            self.triggered.remove(row.order_id)
        elif row.order_id in self.waiting:
            self.waiting.remove(row.order_id)
        else:
            self._require(self.book.pop(row.order_id, None), "the cancelled order did not rest or wait")

    # --- Parts of changes ---------------------------------------------------------------------------------

    def _amend(self, event: StoredEvent) -> PlaceOrder:
        """Give an order the numbers that it has after the event."""
        row = self.rows[event.order_id]
        later = [one for one in row.events if one.sequence > self.number]
        after = self.orders[event.order_id] = later[0].before if later else row.order()
        self._require(after.quantity_lots > self.taken[event.order_id], "its quantity was filled already")
        return after

    def _take(self, maker_id: str, taker_id: str, lots: int) -> None:
        """Take lots off both orders."""
        self._require(maker_id not in (taker_id, ""), "an order met itself")
        self.book[maker_id] -= lots
        self._require(self.book[maker_id] >= 0, "taken above its quantity")
        if not self.book[maker_id]:
            del self.book[maker_id]
        for order_id in (maker_id, taker_id):
            self.taken[order_id] += lots
            self._require(self.taken[order_id] <= self.orders[order_id].quantity_lots, "above its quantity")

    def _enter(self, order_id: str) -> None:
        """Let an order be the taker. A triggered order must be the next one."""
        self._require(order_id not in self.book, "a resting order can't enter")
        if order_id == self.taker:
            return
        self._require(not self.met, f"{self.met}: were met by a trade, and not triggered")
        if self.triggered:
            self._require(self.triggered[0] == order_id, f"{self.triggered}: were passed over")
            self.triggered.pop(0)
        self.taker = order_id

    def _check_new_command(self) -> None:
        """Check that a command may begin here."""
        self._require(not self.met, f"{self.met}: were met by a trade, and not triggered")
        self._require(not self.triggered, f"{self.triggered}: were passed over")

    def _drop_silently_ended(self) -> None:
        """Drop triggered orders that entered and ended before this number without any change."""
        while self.triggered:
            row = self.rows[self.triggered[0]]
            is_silent = row.status == "cancelled" and row.reason not in TAKEN_OFF and not row.trades
            if not is_silent or row.sequence >= self.number or row.prevented_lots:
                return
            self.triggered.pop(0)

    def _best_maker(self, taker: PlaceOrder) -> str | None:
        """Return the id of the order that `taker` must meet next: best price, then earliest."""
        sign = 1 if taker.side is Side.BUY else -1
        makers = [
            (sign * order.price_ticks, self.priorities[order_id], order_id)
            for order_id in self.book
            for order in (self.orders[order_id],)
            if order.side is not taker.side
            and (not taker.has_limit or sign * order.price_ticks <= sign * taker.price_ticks)
        ]
        return min(makers)[2] if makers else None

    # --- Bounds, refusals and the end ---------------------------------------------------------------------

    def _of_client(self, client_id: str, order_ids: Any) -> int:
        return sum(self.rows[order_id].client_id == client_id for order_id in order_ids)

    def _levels(self, side: str) -> set[int]:
        return {self.orders[one].price_ticks for one in self.book if self.rows[one].side == side}

    def _check_bounds(self, rested: Row) -> None:
        """Check the bounds on resting orders after one more order came to rest."""
        count = self._of_client(rested.client_id, self.book)
        self._require(count <= rested.instrument.open_orders_max, "a client has too many orders")
        self._require(len(self.book) <= settings.INSTRUMENT_OPEN_ORDERS_MAX, "too many orders")
        levels_max = settings.BOOK_LEVELS_PER_SIDE_MAX + settings.BOOK_LEVELS_IMPROVING_MAX
        self._require(len(self._levels(rested.side)) <= levels_max, "too many levels")

    def _check_refusal(self, row: Row) -> None:
        """Check that there was a reason to refuse an order."""
        order = self.orders[row.order_id]
        if row.reason == "would_cross":
            self._require(self._best_maker(order) is not None, "refused, but would not cross")
        elif row.reason == "would_trigger":
            self._require(order.is_triggered_by(self.last_price), "refused, but would not be triggered")
        elif row.reason == "too_many_orders":
            waits = row.status == "rejected" and order.kind not in (OrderKind.LIMIT, OrderKind.MARKET)
            orders = self.waiting if waits else self.book
            is_full = len(orders) >= settings.INSTRUMENT_OPEN_ORDERS_MAX
            mine = self._of_client(row.client_id, orders)
            self._require(is_full or mine >= row.instrument.open_orders_max, "too few orders to refuse")
        else:
            self._require(row.reason == "too_many_levels", f"refused for {row.reason}")
            levels, price = self._levels(row.side), order.price_ticks
            sign = 1 if row.side == "buy" else -1
            improves = all(sign * price > sign * level for level in levels)
            levels_max = settings.BOOK_LEVELS_PER_SIDE_MAX + improves * settings.BOOK_LEVELS_IMPROVING_MAX
            self._require(price not in levels and len(levels) >= levels_max, "too few levels to refuse")

    def _check_end(self) -> None:
        """Compare the state with the rows."""
        live = [row for row in self.rows.values() if row.is_live]
        resting = {row.order_id: row.remaining_lots for row in live if row.is_resting}
        self._require(self.book == resting, "resting orders differ from the replayed book")
        waiting = {row.order_id for row in live if not row.is_resting and row.triggered_at is None}
        self._require(self.waiting == waiting, "waiting orders differ from the replayed ones")
        self._require(not self.met, f"{self.met}: were met by a trade, and not triggered")
        triggered = [row for row in live if not row.is_resting and row.triggered_at is not None]
        self._require(not triggered and not self.triggered, f"{self.triggered}: have not entered the book")


def _rested(row: Row) -> bool:
    """Return whether an order rested in the end, rather than having entered again or after a trigger."""
    return row.priority is not None and all(
        event.sequence < row.priority for event in row.events if event.kind in ("triggered", "withdrawn")
    )
