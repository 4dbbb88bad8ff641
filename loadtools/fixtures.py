"""Files of orders. Each line is one body of POST /orders, as JSON.

Writing is reproducible: the same seed and markets give the same bytes. Reading is strict and keeps
one line in memory, so a file of any length can be checked completely before it is sent. Each order
has its own idempotency key, so a file can be sent twice safely.
"""

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from loadtools.mix import MixMarket, order_bodies

_LINE_BYTES_MAX = 64 * 1024  # The exchange's limit of a request's body.


class FixtureError(ValueError):
    """A line of a file is not an order. The message has the line's number and the problem."""


class _FixtureOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An order in a file. The exchange itself checks tick size, lot size and limits."""

    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    client_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
    instrument: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    side: Literal["buy", "sell"]
    type: Literal["limit", "market"]
    price: Decimal | None = None
    quantity: Decimal

    def __post_init__(self) -> None:
        if (self.type == "limit") != (self.price is not None):
            raise ValueError("a limit order needs a price, and a market order has none")
        for name, value in (("price", self.price), ("quantity", self.quantity)):
            if value is not None and not (value.is_finite() and value > 0):
                raise ValueError(f"the {name} must be a number above zero")


def fixture_lines(*, orders: int, seed: int, markets: Sequence[MixMarket]) -> Iterator[bytes]:
    """Return the lines of a file, each with its newline."""
    bodies = order_bodies(seed=seed, key_prefix=f"fixture-{seed}", markets=markets)
    return (body + b"\n" for body in itertools.islice(bodies, orders))


def read_fixture(path: Path) -> Iterator[bytes]:
    """Check and return the orders of a file one after the other. Empty lines are skipped.

    Raises `FixtureError` at the first line that is not an order, `OSError` if the file can't be
    read.
    """
    decoder = msgspec.json.Decoder(_FixtureOrder)
    with path.open("rb") as file:
        for number in itertools.count(1):
            line = file.readline(_LINE_BYTES_MAX + 1)
            if not line:
                return
            if len(line) > _LINE_BYTES_MAX:
                raise FixtureError(f"{path}, line {number}: longer than {_LINE_BYTES_MAX} bytes")
            body = line.strip()
            if not body:
                continue
            try:
                decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise FixtureError(f"{path}, line {number}: {error}") from None
            yield body


def count_orders(path: Path) -> int:
    """Return the number of orders in a file. Raises the errors of `read_fixture`."""
    return sum(1 for _ in read_fixture(path))
