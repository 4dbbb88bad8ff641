"""What `recover` tells of a book, and its comparison with the live worker's.

Two books are the same where sequence and state hash are. Worker and database are read one after the other, so
while trading goes on they are read again until they meet at one sequence: the worker answers with a state that
it has just committed, and the database is read before the next commit or the attempt is lost.
"""

from collections.abc import Mapping
from typing import NamedTuple

from django.conf import settings

from base.database import DatabaseReader
from matching.engine import Side
from matching.recovery import MarketBook, load_books
from orders.desk import current_desk
from orders.gateway import current_gateway
from orders.messages import BookState

_load = DatabaseReader(
    threads=1,
    places_max=1,
    seconds_max=settings.INSPECTION_SECONDS_MAX,
    statement_seconds_max=settings.INSPECTION_SECONDS_MAX,
)


class BookReport(NamedTuple):
    """A book in figures; prices as decimal text, None where a side is empty."""

    symbol: str
    bids: int
    asks: int
    best_bid: str | None
    best_ask: str | None
    sequence: int
    state_hash: str


def report(market: MarketBook) -> BookReport:
    """Costs a pass over the book, for its state hash."""
    book, price = market.book, market.instrument.grid.price
    return BookReport(
        symbol=market.instrument.symbol,
        bids=book.order_count(Side.BUY),
        asks=book.order_count(Side.SELL),
        best_bid=None if book.best_bid is None else price.text(book.best_bid),
        best_ask=None if book.best_ask is None else price.text(book.best_ask),
        sequence=book.sequence,
        state_hash=book.state_hash(),
    )


class Comparison(NamedTuple):
    """A line for each book that is not known to be the same on both sides; none: all are."""

    different: list[str]
    undecided: list[str]  # never met at one sequence, because trading went on


async def compare_with_worker(partition: int) -> Comparison:
    """The database's books beside the live worker's.

    Raises Unavailable and OutcomeUnknown where no worker or no database answers, ValueError where the database
    holds no book.
    """
    decided: dict[str, str] = {}  # by symbol: what differs, nothing where the books are the same
    undecided: dict[str, str] = {}
    stored: Mapping[str, BookState] = {}
    try:
        for _ in range(settings.RECOVER_ATTEMPTS_MAX):
            before = stored
            live = await current_desk().inspect_books(partition)
            stored = await _load(_load_states, partition)
            undecided = _compare(before, live, stored, decided)
            if not undecided:
                break
    finally:
        await current_gateway().aclose()
    return Comparison(different=[*filter(None, decided.values())], undecided=[*undecided.values()])


def _load_states(partition: int) -> dict[str, BookState]:
    books = load_books(partition)
    return {
        symbol: BookState(market.book.sequence, market.book.state_hash()) for symbol, market in books.items()
    }


def _compare(
    before: Mapping[str, BookState],
    live: Mapping[str, BookState],
    stored: Mapping[str, BookState],
    decided: dict[str, str],
) -> dict[str, str]:
    """Decide on the books that are at one sequence on both sides; returns why the others are not, by symbol.

    The three were read in this order. What a worker tells is committed, so of two readings the later one is never
    the older book, whichever side it is of: where it is, the books differ, however busy trading is.
    """
    undecided: dict[str, str] = {}
    for symbol in sorted((stored.keys() | live.keys()) - decided.keys()):
        earlier, theirs, ours = before.get(symbol), live.get(symbol), stored.get(symbol)
        if ours is None:
            decided[symbol] = f"{symbol}: the worker has a book of it, the database no instrument"
        elif theirs is None:
            undecided[symbol] = f"{symbol}: the worker has no book of it"
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
