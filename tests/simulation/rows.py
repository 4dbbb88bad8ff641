"""Rows of the model of the database, and how a batch inserts and changes them."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError

from instruments.directory import TradedInstrument
from instruments.grid import Grid
from matching.batch.batch import Batch
from matching.batch.commands import place_order
from matching.batch.effects import NewOrder, OrderChange, TradeRow
from matching.engine import PlaceOrder
from orders.models import LIVE_STATUSES, RESTING_STATUSES

GRID = Grid.of(Decimal("0.01"), Decimal("0.00000001"))


@dataclass
class StoredEvent:
    """A row of order events."""

    order_id: str
    symbol: str
    sequence: int
    kind: str
    priority: int | None  # of the order, before the event
    before: PlaceOrder  # the order before the event
    taker_order_id: str | None
    prevented_lots: int


@dataclass
class Row:
    """An order in the database, with the attributes of the Django model."""

    order_id: str
    client_id: str
    instrument: TradedInstrument
    side: str
    type: str
    price_ticks: int
    quantity_lots: int
    trigger_price_ticks: int
    filled_lots: int
    notional: int  # ticks * lots
    prevented_lots: int
    status: str
    reason: str | None
    idempotency_key: str | None
    terms: int | None
    time_in_force: str
    post_only: bool
    self_trade_prevention: str
    expires_at: datetime | None
    triggered_at: datetime | None
    priority: int | None
    sequence: int
    created_at: datetime
    updated_at: datetime
    trades: list[TradeRow] = field(default_factory=list)
    events: list[StoredEvent] = field(default_factory=list)

    @property
    def instrument_id(self) -> int:
        return self.instrument.instrument_id

    @property
    def price(self) -> Decimal | None:
        return Decimal(GRID.price.text(self.price_ticks)) if self.price_ticks else None

    @property
    def trigger_price(self) -> Decimal | None:
        return Decimal(GRID.price.text(self.trigger_price_ticks)) if self.trigger_price_ticks else None

    @property
    def quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self.quantity_lots))

    @property
    def filled_quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self.filled_lots))

    @property
    def prevented_quantity(self) -> Decimal:
        return Decimal(GRID.quantity.text(self.prevented_lots))

    @property
    def filled_notional(self) -> Decimal:
        return Decimal(GRID.notional_text(self.notional))

    @property
    def remaining_lots(self) -> int:
        return self.quantity_lots - self.filled_lots - self.prevented_lots

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_STATUSES

    @property
    def is_resting(self) -> bool:
        return self.status in RESTING_STATUSES

    def check(self) -> None:
        """Raise IntegrityError if the constraints of the table refuse the row."""
        filled, quantity = self.filled_lots, self.quantity_lots
        is_possible = {
            "pending": filled == 0,
            "open": filled == 0,
            "partially_filled": 0 < filled < quantity - self.prevented_lots,
            "filled": filled == quantity,
            "cancelled": filled < quantity,
            "rejected": filled == 0,
        }
        if self.remaining_lots < 0 or not is_possible[self.status]:
            raise IntegrityError(f"order {self.order_id}: {self.status} with {filled} of {quantity} lots")

    def order(self) -> PlaceOrder:
        """Return the engine's order."""
        return place_order(
            order_id=self.order_id,
            client_id=self.client_id,
            side=self.side,
            order_type=self.type,
            price_ticks=self.price_ticks,
            quantity_lots=self.quantity_lots,
            time_in_force=self.time_in_force,
            post_only=self.post_only,
            self_trade_prevention=self.self_trade_prevention,
            trigger_price_ticks=self.trigger_price_ticks,
        )


def inserted_row(order: NewOrder, batch: Batch) -> Row:
    command = order.command
    return Row(
        order_id=command.order_id,
        client_id=command.client_id,
        instrument=order.instrument,
        side=command.side,
        type=command.order_type,
        price_ticks=order.price_ticks,
        quantity_lots=order.quantity_lots,
        trigger_price_ticks=order.trigger_price_ticks,
        filled_lots=order.filled_lots,
        notional=order.filled_notional,
        prevented_lots=order.prevented_lots,
        status=order.status,
        reason=order.reason,
        idempotency_key=command.idempotency_key,
        terms=command.terms,
        time_in_force=command.time_in_force,
        post_only=command.post_only,
        self_trade_prevention=command.self_trade_prevention,
        expires_at=order.expires_at,
        triggered_at=batch.now if order.is_triggered else None,
        priority=order.priority,
        sequence=order.sequence,
        created_at=batch.now,
        updated_at=batch.now,
    )


def changed_row(stored: Row, change: OrderChange, batch: Batch) -> Row:
    """Return the row with the change, as the statement of matching/commit/orders.py makes it."""
    filled_lots = stored.filled_lots + change.filled_lots
    prevented_lots = stored.prevented_lots + change.prevented_lots
    status, reason = change.status, change.reason
    if status is None:
        status = "partially_filled" if filled_lots else "open"
    elif status == "filled" and prevented_lots:
        status, reason = "cancelled", "self_trade"
    return replace(
        stored,
        filled_lots=filled_lots,
        notional=stored.notional + change.filled_notional,
        prevented_lots=prevented_lots,
        price_ticks=change.price_ticks or stored.price_ticks,
        quantity_lots=change.quantity_lots or stored.quantity_lots,
        trigger_price_ticks=change.trigger_price_ticks or stored.trigger_price_ticks,
        expires_at=change.expires_at or stored.expires_at,
        triggered_at=batch.now if change.is_triggered else stored.triggered_at,
        priority=change.priority or stored.priority,
        status=status,
        reason=reason,
        sequence=change.sequence,
        updated_at=batch.now,
    )
