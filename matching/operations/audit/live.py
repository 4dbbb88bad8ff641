"""Compares the database with the books' mirrors in Redis, and with the matching workers' books.

During trading both sides change, so they are read again until they have the same sequence. If they
never do, or if Redis or a worker does not answer, the comparison is skipped, which is no breach.
"""

import asyncio
import time
from itertools import zip_longest

from redis.asyncio import Redis
from redis.exceptions import RedisError

from base.database import snapshot
from base.redis import connect_redis
from base.refusals import OutcomeUnknown, Unavailable
from instruments.directory import TradedInstrument, load_instruments
from instruments.grid import Grid
from marketdata.book import Book, BookLevel, read_book_from_database, read_mirror
from marketdata.models import BookSequence
from matching.operations.audit.results import BREACHES_LISTED_MAX, CheckResult
from matching.operations.inspection import compare_with_worker
from orders.messages import heartbeat_key

MIRRORS, WORKERS = "mirrors", "workers"
# Time for all mirrors to reach the database's sequence. Workers check mirrors twice a second.
MIRROR_SECONDS_MAX = 10.0
MIRROR_POLL_SECONDS = 0.01


class Skipped(Exception):
    """A comparison without a result. The message gives the reason."""


def audit_mirrors() -> CheckResult:
    """Check the mirror of every book. Raises django.db.Error."""
    started = time.perf_counter()
    breaches: list[str] = []
    skipped: list[str] = []
    pending = [Mirror(instrument) for _, instrument in sorted(load_instruments().items())]
    redis = connect_redis()
    with asyncio.Runner() as runner:
        try:
            ends = time.perf_counter() + MIRROR_SECONDS_MAX
            while pending:
                last = time.perf_counter() > ends
                for mirror in tuple(pending):
                    symbol = mirror.instrument.symbol
                    try:
                        difference = mirror.compare(redis, runner, last=last)
                    except Skipped as reason:
                        skipped.append(f"{symbol}: {reason}")
                    else:
                        if difference is None:
                            continue  # The mirror is compared again.
                        breaches += [f"{symbol}: {difference}"] if difference else []
                    pending.remove(mirror)
                time.sleep(MIRROR_POLL_SECONDS if pending else 0)
        except (RedisError, OSError) as error:
            skipped.append(f"Redis does not answer: {error}")
        finally:
            runner.run(redis.aclose())
    promise = "A book's mirror in Redis is the database's book, level by level."
    return _result_of(MIRRORS, promise, started, breaches, skipped)


def audit_workers() -> CheckResult:
    """Check the worker of every partition.

    Each worker hashes its books for this, which takes a second for a million resting orders.
    """
    started = time.perf_counter()
    breaches: list[str] = []
    skipped: list[str] = []
    for partition in sorted({instrument.partition for instrument in load_instruments().values()}):
        try:
            comparison = asyncio.run(compare_with_worker(partition))
        except (Unavailable, OutcomeUnknown) as error:
            skipped.append(f"partition {partition}: {error.message}")
        except ValueError as error:
            skipped.append(f"partition {partition}: the resting orders are not a valid book: {error}")
        else:
            breaches += comparison.different
            skipped += comparison.undecided
    promise = "A matching worker's books are the database's, order by order."
    return _result_of(WORKERS, promise, started, breaches, skipped)


def _result_of(
    name: str, promise: str, started: float, breaches: list[str], skipped: list[str]
) -> CheckResult:
    return CheckResult(
        name=name,
        promise=promise,
        seconds=time.perf_counter() - started,
        breaches=breaches[:BREACHES_LISTED_MAX],
        breach_count=len(breaches),
        skipped=skipped,
    )


class Mirror:
    """Compares a book's mirror with the database, in as many attempts as it takes."""

    def __init__(self, instrument: TradedInstrument) -> None:
        self.instrument = instrument
        self._stored_first: int | None = None  # the database's sequence in the first attempt
        self._mirrored = 0  # the mirror's sequence in the last attempt

    def compare(self, redis: Redis, runner: asyncio.Runner, *, last: bool) -> str | None:
        """Return the difference, "" if both are equal, and None if they can't be compared yet.

        The mirror is read during a snapshot of the database. If both have the same sequence, the
        book is read from that snapshot, so trading does not matter. Raises Skipped and RedisError.
        """
        with snapshot():
            stored = _stored_sequence(self.instrument)
            mirror = runner.run(read_mirror(redis, self.instrument))
            if mirror is not None and mirror.sequence == stored:
                return _level_difference(mirror, _stored_book(self.instrument), self.instrument.grid)
        if stored < self._mirrored:  # Mirrors are written after the commit.
            return f"sequence {stored} in the database, {self._mirrored} in Redis before"
        self._mirrored = mirror.sequence if mirror else 0
        if self._stored_first is None:
            self._stored_first = stored
        behind = mirror is None or mirror.sequence < stored
        if behind and not runner.run(_is_matched(redis, self.instrument.partition)):
            raise Skipped(f"no worker of partition {self.instrument.partition} keeps the mirror current")
        if not last:
            return None
        if mirror is None or mirror.sequence < self._stored_first:
            return (
                f"{f'sequence {mirror.sequence}' if mirror else 'nothing'} in Redis, "
                f"{MIRROR_SECONDS_MAX:.0f} s after the database was at {self._stored_first}"
            )
        raise Skipped("the mirror never had the database's sequence; trading went on")


async def _is_matched(redis: Redis, partition: int) -> bool:
    return bool(await redis.exists(heartbeat_key(partition)))


def _stored_sequence(instrument: TradedInstrument) -> int:
    row = BookSequence.objects.filter(instrument_id=instrument.instrument_id).first()
    return row.sequence if row else 0


def _stored_book(instrument: TradedInstrument) -> Book:
    """Return the database's book. Raises Skipped if it is not a valid book."""
    try:
        return read_book_from_database(instrument)
    except ValueError as error:
        raise Skipped(f"the resting orders are not a valid book: {error}") from None


def _level_difference(mirror: Book, stored: Book, grid: Grid) -> str:
    """Return the first difference between two books at one sequence, or "" if they are equal."""
    sides = {"bids": (mirror.bids, stored.bids), "asks": (mirror.asks, stored.asks)}
    for side, (theirs, ours) in sides.items():
        for there, here in zip_longest(theirs, ours):
            if there != here:
                return (
                    f"{side} at sequence {stored.sequence}: {_level_text(here, grid)} in the database, "
                    f"{_level_text(there, grid)} in Redis"
                )
    return ""


def _level_text(level: BookLevel | None, grid: Grid) -> str:
    if level is None:
        return "nothing"
    quantity, price = grid.quantity.text(level.quantity_lots), grid.price.text(level.price_ticks)
    return f"{quantity} at {price} (orders: {level.orders})"
