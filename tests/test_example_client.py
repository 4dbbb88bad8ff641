"""The book of examples/python/exchange_client.py: what it takes, and what it doesn't."""

import importlib.util
import zlib
from decimal import Decimal
from typing import Any

import pytest

from tests.system.exchange import ROOT

_spec = importlib.util.spec_from_file_location(
    "exchange_client", ROOT / "examples" / "python" / "exchange_client.py"
)
assert _spec is not None
assert _spec.loader is not None
client: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client)

SNAPSHOT = {
    "sequence": 7,
    "bids": [{"price": Decimal("70150.5"), "quantity": Decimal("0.1"), "orders": 1}],
    "asks": [{"price": 70151, "quantity": Decimal("0.00000001"), "orders": 2}],
    "checksum": zlib.crc32(b"7015117015051"),
}
CHANGE = {"side": "buy", "price": Decimal("70150.5"), "quantity": Decimal("0.3"), "orders": 1}
DELTA: dict[str, Any] = {
    "previous_sequence": 7,
    "sequence": 9,
    "changes": [CHANGE, {"side": "sell", "price": 70151, "quantity": 0, "orders": 0}],
    "checksum": zlib.crc32(b"7015053"),
}


def test_a_delta_that_continues_the_book_is_taken() -> None:
    book = client.Book(SNAPSHOT)
    assert (book.best_bid, book.best_ask) == (Decimal("70150.5"), 70151)
    book.apply(DELTA)
    assert (book.sequence, book.bids, book.asks) == (9, {Decimal("70150.5"): (Decimal("0.3"), 1)}, {})


def test_a_gap_is_found() -> None:
    with pytest.raises(client.BookError, match="does not continue"):
        client.Book(SNAPSHOT).apply({**DELTA, "previous_sequence": 8})


@pytest.mark.parametrize(
    "wrong",
    [
        {**CHANGE, "quantity": Decimal("0.30000001")},
        {**CHANGE, "price": Decimal("70150.4")},
        {**CHANGE, "side": "sell"},
        {**CHANGE, "quantity": 0, "orders": 0},
    ],
)
def test_a_wrong_level_is_found_by_the_checksum(wrong: Any) -> None:
    with pytest.raises(client.BookError, match="checksum"):
        client.Book(SNAPSHOT).apply({**DELTA, "changes": [wrong, DELTA["changes"][1]]})


def test_a_wrong_snapshot_is_found() -> None:
    with pytest.raises(client.BookError):
        client.Book({**SNAPSHOT, "asks": []})
