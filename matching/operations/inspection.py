"""The report that `recover` prints about a book, and the comparison with the live worker's book.

Two books are equal if their sequences and state hashes are. The worker and the database are read
one after the other. So during trading both are read again until they have the same sequence. The
worker answers with committed state, so an attempt succeeds if the database is read before the
worker's next commit.
"""

from collections.abc import Mapping
from typing import NamedTuple

from django.conf import settings

from base.database import DatabaseReader
from matching.batch.market_book import MarketBook
from matching.engine import Side, WaitingCounts
from matching.recovery import load_books
from orders.desk import current_desk
from orders.gateway import current_gateway
from orders.messages import BookState

_read_books = DatabaseReader(
    threads=1,
    places_max=1,
    seconds_max=settings.INSPECTION_SECONDS_MAX,
    statement_seconds_max=settings.INSPECTION_SECONDS_MAX,
)


class BookReport(NamedTuple):
    """A summary of a book. Prices are decimal text, or None if the side is empty."""

    symbol: str
    bids: int
    asks: int
    best_bid: str | None
    best_ask: str | None
    waiting: WaitingCounts
    sequence: int
    state_hash: str


def report(market: MarketBook) -> BookReport:
    """Return the summary of a book. Costs a pass over the book, for its state hash."""
    book, price = market.book, market.instrument.grid.price
    return BookReport(
        symbol=market.instrument.symbol,
        bids=book.order_count(Side.BUY),
        asks=book.order_count(Side.SELL),
        best_bid=None if book.best_bid is None else price.text(book.best_bid),
        best_ask=None if book.best_ask is None else price.text(book.best_ask),
        waiting=book.waiting_counts(),
        sequence=book.sequence,
        state_hash=book.state_hash(),
    )


class Comparison(NamedTuple):
    """A line of text for each book that is not known to be equal.

    Both lists are empty if all books are equal.
    """

    different: list[str]
    undecided: list[str]  # books never read at one sequence, because trading went on


async def compare_with_worker(partition: int) -> Comparison:
    """Compare the database's books with the live worker's.

    Raises Unavailable or OutcomeUnknown if the worker or the database does not answer, and
    ValueError if the live orders in the database are not a valid book.
    """
    decided: dict[str, str] = {}  # by symbol: the difference, or "" if the books are equal
    undecided: dict[str, str] = {}
    stored: Mapping[str, BookState] = {}
    try:
        for _ in range(settings.RECOVER_ATTEMPTS_MAX):
            before = stored
            live = await current_desk().inspect_books(partition)
            stored = await _read_books(_load_states, partition)
            undecided = _compare_states(before, live, stored, decided)
            if not undecided:
                break
    finally:
        await current_gateway().aclose()
    return Comparison(
        different=[*filter(None, decided.values())],
        undecided=[f"{line}; trading went on" for line in undecided.values()],
    )


def _load_states(partition: int) -> dict[str, BookState]:
    books = load_books(partition)
    return {
        symbol: BookState(market.book.sequence, market.book.state_hash()) for symbol, market in books.items()
    }


def _compare_states(
    before: Mapping[str, BookState],
    live: Mapping[str, BookState],
    stored: Mapping[str, BookState],
    decided: dict[str, str],
) -> dict[str, str]:
    """Add to `decided` the result of each book that can be judged.

    Returns why the other books can't be judged, by symbol. `before`, `live` and `stored` were read
    in this order. A worker only shows committed books, so a later reading never has a lower
    sequence than an earlier one, on either side. If it does, the books differ, even during trading.
    """
    undecided: dict[str, str] = {}
    for symbol in sorted((stored.keys() | live.keys()) - decided.keys()):
        earlier, theirs, ours = before.get(symbol), live.get(symbol), stored.get(symbol)
        if ours is None:
            decided[symbol] = f"{symbol}: the worker has a book, but the database has no instrument"
        elif theirs is None:
            undecided[symbol] = f"{symbol}: the worker has no book"
        elif ours.sequence != theirs.sequence:
            went_back = ours.sequence < theirs.sequence or (earlier and theirs.sequence < earlier.sequence)
            (decided if went_back else undecided)[symbol] = (
                f"{symbol}: sequence {ours.sequence} in the database, {theirs.sequence} at the worker"
            )
        elif ours.state_hash != theirs.state_hash:
            decided[symbol] = f"{symbol}: not the same orders at sequence {ours.sequence}"
        else:
            decided[symbol] = ""
    return undecided
