"""The terms of an order request, by which the exchange recognizes a retry."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from instruments.directory import TradedInstrument
from instruments.grid import Grid
from orders.requests import OrderRequest

BTC = TradedInstrument(
    instrument_id=1,
    symbol="BTC-USD",
    grid=Grid.of(Decimal("0.01"), Decimal("0.001")),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(1000),
    min_price=Decimal("0.01"),
    max_price=Decimal(100_000),
    halted=False,
    partition=0,
)
REQUEST = OrderRequest(
    client_id="a",
    instrument=BTC,
    side="buy",
    order_type="limit",
    price=Decimal(100),
    quantity=Decimal(1),
    idempotency_key="key",
)


def changed(**fields: Any) -> OrderRequest:
    return msgspec.structs.replace(REQUEST, **fields)


@pytest.mark.parametrize("text", ["100", "100.0", "1E2", "1e+2", "00100.000"])
def test_another_notation_of_a_number_gives_the_same_terms(text: str) -> None:
    assert changed(price=Decimal(text)).terms == REQUEST.terms
    assert changed(price=Decimal(text)).to_grid() == (10_000, 1_000, 0)


OTHER_TERMS: list[dict[str, Any]] = [
    {"side": "sell"},
    {"order_type": "market", "price": None},
    {"price": Decimal("100.01")},
    {"price": None},
    {"quantity": Decimal("1.001")},
    {"price": Decimal(1), "quantity": Decimal(100)},
    {"instrument": msgspec.structs.replace(BTC, instrument_id=2)},
    {"time_in_force": "ioc"},
    {"time_in_force": "gtd", "expires_at": datetime(2026, 1, 1, tzinfo=UTC)},
    {"post_only": True},
    {"self_trade_prevention": "cancel_both"},
    {"order_type": "stop_limit", "trigger_price": Decimal(100)},
]


@pytest.mark.parametrize("fields", OTHER_TERMS)
def test_another_value_of_a_field_gives_other_terms(fields: dict[str, Any]) -> None:
    assert changed(**fields).terms != REQUEST.terms


def test_every_field_of_a_request_is_in_its_terms() -> None:
    tried = {name for fields in OTHER_TERMS for name in fields}
    assert tried == {*OrderRequest.__struct_fields__} - {"client_id", "idempotency_key"}


def test_terms_do_not_depend_on_the_process_or_the_instruments_limits() -> None:
    """Terms are stored with the order, so a new version must not compute them differently."""
    assert REQUEST.terms == 5154827156672234969
    halted = msgspec.structs.replace(BTC, halted=True, max_price=Decimal(1), symbol="XBT-USD")
    assert changed(instrument=halted, client_id="b", idempotency_key=None).terms == 5154827156672234969
