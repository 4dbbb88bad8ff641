"""The messages and documents that are published about a batch."""

from datetime import UTC, datetime

import pytest

from instruments.directory import TradedInstrument
from marketdata.messages import decode_batch, encode_batch
from matching.batch.batch import Batch
from matching.batch.market_book import MarketBook, PartitionState
from matching.commit.statement import CommitResult
from matching.engine import INTEGER_MAX, CancelReason, OrderBook
from matching.publish.documents import market_batches, order_documents
from orders.models import Reason
from streaming.book_copy import BookCopy
from tests.matching.partition import place

pytestmark = pytest.mark.usefixtures("instruments")


def test_a_level_may_have_more_lots_than_an_order(instruments: dict[str, TradedInstrument]) -> None:
    """The integers of MessagePack are smaller than 2**64."""
    instrument = instruments["BTC-USD"]
    copy = BookCopy(instrument.grid)
    state = PartitionState({"BTC-USD": MarketBook(instrument, OrderBook())})
    for orders in range(1, 5):
        batch = Batch(state, {}, datetime.now(UTC))
        batch.run(place("buy", 100, INTEGER_MAX))
        (message,) = market_batches(CommitResult([], {}), batch, order_documents(batch))
        copy.apply(decode_batch(encode_batch(message)).levels, message.sequence)
        (level,) = copy.documents(copy.levels("buy"))
        assert bytes(level.quantity).decode() == instrument.grid.quantity.text(orders * INTEGER_MAX)


def test_every_reason_of_the_engine_is_a_reason_of_an_order() -> None:
    """The reason of an event is written to the order's row unchanged."""
    assert {reason.value for reason in CancelReason} <= set(Reason.values)
