"""Finds the fills of followed clients in the batches of the worker.

A batch has its trades as JSON, and the orders and clients of each. An order's update comes in the
batch with the order's last change of a commit, and its fills in this batch or in earlier ones. So
fills are kept from the batch that has them until their order's update.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from base.encoding import encode_json
from marketdata.messages import FillMessage, MarketBatch
from orders.documents import FillDocument, decode_fields

_FIELDS_OF_THE_ORDER = ("order_id", "client_id", "idempotency_key", "instrument", "side")
_decode_trade = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class KeptFill(msgspec.Struct, frozen=True):
    """A fill as order updates show it, and the book's sequence of its trade."""

    document: FillDocument
    sequence: int


class Fills:
    """The fills of followed clients whose order updates have not come yet."""

    def __init__(self) -> None:
        self._by_order: dict[str, list[KeptFill]] = {}

    def keep(self, batch: MarketBatch, is_followed: Callable[[str], bool]) -> None:
        """Keep the fills of the clients for which `is_followed` is true."""
        for text, parties in zip(batch.trades, batch.parties, strict=True):
            maker_order, maker_client, taker_order, taker_client = parties
            if is_followed(maker_client):
                self._by_order.setdefault(maker_order, []).append(_kept_fill(text, "maker"))
            if is_followed(taker_client):
                self._by_order.setdefault(taker_order, []).append(_kept_fill(text, "taker"))

    def take(self, state: bytes) -> list[KeptFill]:
        """Return the kept fills of an order, given the JSON of its state, and forget them."""
        if not self._by_order:
            return []
        order_id = msgspec.json.decode(decode_fields(state)["order_id"], type=str)
        return self._by_order.pop(order_id, [])

    def forget(self) -> None:
        """Forget all fills, because batches are missing."""
        self._by_order.clear()


def _kept_fill(trade: str, liquidity: str) -> KeptFill:
    fields = _decode_trade(trade)
    document = FillDocument(
        trade_id=msgspec.json.decode(fields["trade_id"], type=str),
        price=fields["price"],
        quantity=fields["quantity"],
        side=msgspec.json.decode(fields["side"], type=str),
        liquidity=liquidity,
        timestamp=msgspec.json.decode(fields["timestamp"], type=str),
    )
    return KeptFill(document, msgspec.json.decode(fields["sequence"], type=int))


def fill_texts(state: bytes, fills: list[KeptFill]) -> list[str]:
    """Return the messages of the channel `fills` for an order, given the JSON of its state."""
    order = decode_fields(state)
    copied: dict[str, Any] = {name: order[name] for name in _FIELDS_OF_THE_ORDER}  # As JSON.
    return [
        encode_json(
            FillMessage(
                trade_id=fill.document.trade_id,
                **copied,
                price=fill.document.price,
                quantity=fill.document.quantity,
                liquidity=fill.document.liquidity,
                sequence=fill.sequence,
                timestamp=fill.document.timestamp,
            )
        ).decode()
        for fill in fills
    ]
