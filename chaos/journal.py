"""The answers that clients received, one in each line of a file, to compare with the database."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Self
from uuid import UUID

import msgspec


class Fill(msgspec.Struct):
    """An order's part of a trade, as clients see it."""

    trade_id: UUID
    price: Decimal
    quantity: Decimal
    liquidity: str


class ClientOrderState(msgspec.Struct):
    """An order without its trades, as clients see it."""

    order_id: UUID
    client_id: str
    instrument: str
    side: str
    type: str
    price: Decimal | None
    quantity: Decimal
    filled_quantity: Decimal
    status: str
    idempotency_key: str | None
    time_in_force: str
    post_only: bool
    self_trade_prevention: str


class ClientOrder(ClientOrderState):
    """An order as clients see it."""

    trades: list[Fill]


class Placed(msgspec.Struct, tag="placed"):
    """An order was acknowledged, at `at` in seconds since 1970."""

    at: float
    order: msgspec.Raw

    def decode(self) -> ClientOrder:
        return decode_order(self.order)


class Cancelled(msgspec.Struct, tag="cancelled"):
    """A cancel was acknowledged."""

    at: float
    order_id: UUID


class NotOpen(msgspec.Struct, tag="not_open"):
    """A cancel was refused because the order no longer rests."""

    at: float
    order_id: UUID


class NotTaken(msgspec.Struct, tag="refused"):
    """The only order of this client was refused."""

    at: float
    client_id: str


class Printed(msgspec.Struct, tag="printed"):
    """The stream sent a trade."""

    trade_id: UUID
    price: Decimal
    quantity: Decimal


Entry = Placed | Cancelled | NotOpen | NotTaken | Printed

decode_order = msgspec.json.Decoder(ClientOrder).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Entry).decode


class Journal:
    """A file that is written from the beginning to the end, and then read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def write(self, entry: Entry) -> None:
        self._file.write(_encode(entry))
        self._file.write(b"\n")

    def entries(self) -> Iterator[Entry]:
        """Return all entries so far."""
        self._file.flush()
        with self.path.open("rb") as file:
            for line in file:
                yield _decode(line)
