"""Validated requests about orders, their conversion to ticks and lots, and an order's terms."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec.structs import replace

from base.numbers import EXACT, decimal_text
from base.refusals import InvalidRequest
from base.times import unix_milliseconds
from instruments.choices import LIMIT_TYPES, TRIGGER_TYPES, TimeInForce
from instruments.directory import TradedInstrument
from instruments.grid import OffGrid, Scale
from orders.models import Order
from orders.refusals import BeyondLimits

_normalize = EXACT.normalize
_GTC, _IOC = TimeInForce.GTC.value, TimeInForce.IOC.value  # looked up once: each access costs time
_LIMIT_TYPES = frozenset(order_type.value for order_type in LIMIT_TYPES)
_TRIGGER_TYPES = frozenset(order_type.value for order_type in TRIGGER_TYPES)


def default_time_in_force(order_type: str) -> str:
    """Return the time in force of an order that does not state one."""
    return _GTC if order_type in _LIMIT_TYPES else _IOC


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to place an order, with valid fields.

    Defaults are filled in, but for `self_trade_prevention`: None stands for the instrument's.
    """

    client_id: str
    instrument: TradedInstrument
    side: str
    order_type: str
    price: Decimal | None = None
    quantity: Decimal
    idempotency_key: str | None = None
    time_in_force: str = TimeInForce.GTC.value
    expires_at: datetime | None = None
    post_only: bool = False
    self_trade_prevention: str | None = None
    trigger_price: Decimal | None = None

    @property
    def prevention(self) -> str:
        """The self-trade prevention of the order."""
        return self.self_trade_prevention or self.instrument.self_trade_prevention

    @property
    def terms(self) -> int:
        """A hash of what the client asks for. A retry has the same terms as the first request.

        It covers every field but the client and the key. A field that is added later joins the text
        only if it is not at its default, so the terms of requests without it do not change. Equal
        numbers give the same terms. The hash has 64 bits, as a bigint of PostgreSQL. Only requests
        with the same key are compared.
        """
        stated = f"{self.instrument.instrument_id} {self.side} {self.order_type} {_normalize(self.quantity)}"
        if self.price is not None:
            stated += f" price={_normalize(self.price)}"
        if self.time_in_force != default_time_in_force(self.order_type):
            stated += f" time_in_force={self.time_in_force}"
        if self.expires_at is not None:
            stated += f" expires_at={unix_milliseconds(self.expires_at)}"
        if self.post_only:
            stated += " post_only"
        if self.self_trade_prevention is not None:
            stated += f" self_trade_prevention={self.self_trade_prevention}"
        if self.trigger_price is not None:
            stated += f" trigger_price={_normalize(self.trigger_price)}"
        return int.from_bytes(blake2b(stated.encode(), digest_size=8).digest(), signed=True)

    def is_same_as(self, earlier: Order) -> bool:
        """Return whether an earlier order with the same key was placed with the same terms.

        A request that leaves `self_trade_prevention` out is the same as one that states the
        default. The earlier order keeps the default of its time.
        """
        if earlier.terms == self.terms:
            return True
        if self.self_trade_prevention is None:
            stated = replace(self, self_trade_prevention=self.instrument.self_trade_prevention)
            return earlier.terms == stated.terms
        left_out = replace(self, self_trade_prevention=None)
        return earlier.self_trade_prevention == self.self_trade_prevention and earlier.terms == left_out.terms

    def to_grid(self) -> tuple[int, int, int]:
        """Return price_ticks, quantity_lots and trigger_price_ticks, each 0 if it is left out.

        Raises InvalidRequest if a value is off the grid; BeyondLimits if the values are outside the
        instrument's limits, or if the order expires in the past or too late.
        """
        numbers = _to_grid(self.instrument, self.price, self.quantity, self.trigger_price, self.expires_at)
        price_ticks, quantity_lots, trigger_price_ticks = numbers
        return price_ticks or 0, quantity_lots or 0, trigger_price_ticks or 0


class AmendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to change an order, with valid fields. None leaves a value as it is."""

    client_id: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    expires_at: datetime | None = None
    trigger_price: Decimal | None = None

    def to_grid(self, instrument: TradedInstrument) -> tuple[int | None, int | None, int | None]:
        """Return price_ticks, quantity_lots and trigger_price_ticks, each None if it is left out.

        Raises what `OrderRequest.to_grid` raises.
        """
        return _to_grid(instrument, self.price, self.quantity, self.trigger_price, self.expires_at)


class AmendOne(msgspec.Struct, frozen=True):
    """An amend and the order that it names: by its id, or by its client and key."""

    order_id: UUID | None
    key: tuple[str, str] | None
    changes: AmendRequest


def _to_grid(
    instrument: TradedInstrument,
    price: Decimal | None,
    quantity: Decimal | None,
    trigger_price: Decimal | None,
    expires_at: datetime | None,
) -> tuple[int | None, int | None, int | None]:
    """Return the numbers in ticks, lots and ticks.

    Raises InvalidRequest or BeyondLimits, with all invalid fields.
    """
    grid = instrument.grid
    errors: dict[str, ValueError] = {}
    prices = (instrument.min_price, instrument.max_price)
    quantities = (instrument.min_quantity, instrument.max_quantity)
    steps = (
        _steps("price", price, grid.price, prices, errors),
        _steps("quantity", quantity, grid.quantity, quantities, errors),
        _steps("trigger_price", trigger_price, grid.price, prices, errors),
    )
    if price is not None and quantity is not None and instrument.min_notional is not None and not errors:
        _check_notional(instrument.min_notional, price, quantity, errors)
    if expires_at is not None:
        _check_expiry(expires_at, errors)
    if errors:
        is_off_grid = any(isinstance(error, OffGrid) for error in errors.values())
        refusal = InvalidRequest if is_off_grid else BeyondLimits
        raise refusal(fields={name: [str(error)] for name, error in errors.items()})
    return steps


def _check_notional(least: Decimal, price: Decimal, quantity: Decimal, errors: dict[str, ValueError]) -> None:
    """Add an error if the values of a limit order are below the instrument's `min_notional`."""
    notional = EXACT.multiply(price, quantity)
    if notional < least:
        errors["quantity"] = ValueError(
            f"price * quantity must be at least {decimal_text(least)}, but is {decimal_text(notional)}."
        )


def _check_expiry(expires_at: datetime, errors: dict[str, ValueError]) -> None:
    """Add an error if an order would expire in the past or too late."""
    now = datetime.now(UTC)
    if expires_at <= now:
        errors["expires_at"] = ValueError("Must be in the future.")
    elif expires_at > now + timedelta(days=settings.ORDER_EXPIRY_DAYS_MAX):
        errors["expires_at"] = ValueError(f"Must be at most {settings.ORDER_EXPIRY_DAYS_MAX} days ahead.")


def _steps(
    name: str,
    value: Decimal | None,
    scale: Scale,
    limits: tuple[Decimal, Decimal],
    errors: dict[str, ValueError],
) -> int | None:
    """Return the value in steps of the grid, or add its error."""
    if value is None:
        return None
    least, greatest = limits
    try:
        if value < least:
            raise ValueError(f"Must be at least {decimal_text(least)}.")
        if value > greatest:
            raise ValueError(f"Must be at most {decimal_text(greatest)}.")
        return scale.steps(value)
    except ValueError as error:
        errors[name] = error
        return None


def is_limit_type(order_type: str) -> bool:
    """Return whether orders of this type have a price."""
    return order_type in _LIMIT_TYPES


def is_trigger_type(order_type: str) -> bool:
    """Return whether orders of this type wait for a trigger."""
    return order_type in _TRIGGER_TYPES
