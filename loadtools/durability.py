"""Checks that no acknowledged order is lost: looks up every acknowledged id in the orders table."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

_CHUNK_ORDERS = 5_000
_CONNECT_TIMEOUT_SECONDS = 10
_ID_BYTES = 16
_MISSING_SHOWN = 5
OTHER_DATABASE_ADVICE = (
    "If that exchange keeps its orders in another database, run this with the same"
    " POSTGRES_URI or EXCHANGE_DATA_DIR."
)


class Acknowledged:
    """The ids of all orders that were answered with 201. Each takes 16 bytes."""

    def __init__(self) -> None:
        self._ids = bytearray()

    def add(self, hexadecimal: bytes) -> None:
        """Add an id from an answer. Raises `ValueError` if it is not a UUID."""
        order_id = bytes.fromhex(hexadecimal.replace(b"-", b"").decode("ascii"))
        if len(order_id) != _ID_BYTES:
            raise ValueError(f"not a UUID: {hexadecimal!r}")
        self._ids += order_id

    def __len__(self) -> int:
        return len(self._ids) // _ID_BYTES

    def __iter__(self) -> Iterator[bytes]:
        for position in range(0, len(self._ids), _ID_BYTES):
            yield bytes(self._ids[position : position + _ID_BYTES])


@dataclass(frozen=True, slots=True)
class Durability:
    """The result of the look-up of acknowledged orders."""

    acknowledged: int
    repeated: int  # Orders that acknowledge two requests: one of the two is lost.
    missing: list[uuid.UUID]

    @property
    def holds(self) -> bool:
        return not self.missing and not self.repeated

    def report(self) -> list[str]:
        """Return the lines to print."""
        if self.holds:
            return [f"durability   all {self.acknowledged:,} acknowledged orders are in the database"]
        lines = [
            f"durability   of {self.acknowledged:,} acknowledged orders {len(self.missing):,} are not in the"
            f" database and {self.repeated:,} were acknowledged twice"
        ]
        lines.extend(f"             missing: {order_id}" for order_id in self.missing[:_MISSING_SHOWN])
        return [*lines, f"             {OTHER_DATABASE_ADVICE}"] if self.missing else lines


def check_durability(acknowledged: Acknowledged, postgres_uri: str) -> Durability:
    """Look the orders up in chunks. Raises `psycopg.Error` if the database can't be read."""
    distinct = sorted(set(acknowledged))
    missing: list[uuid.UUID] = []
    with psycopg.connect(
        postgres_uri, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_SECONDS
    ) as connection:
        for start in range(0, len(distinct), _CHUNK_ORDERS):
            chunk = [uuid.UUID(bytes=order_id) for order_id in distinct[start : start + _CHUNK_ORDERS]]
            rows = connection.execute("SELECT order_id FROM orders_order WHERE order_id = ANY(%s)", [chunk])
            found = {row[0] for row in rows}
            missing.extend(order_id for order_id in chunk if order_id not in found)
    return Durability(len(acknowledged), len(acknowledged) - len(distinct), missing)
