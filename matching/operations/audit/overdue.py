"""Checks that matching workers do in time what is due: expiries, switches, and triggered orders.

Nothing is due in a partition that no worker matches. A worker that returns after an outage may have
much to do, so the partitions are looked at again until nothing is overdue, or less than before.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from redis.exceptions import RedisError

from base.redis import connect_redis
from instruments.directory import load_instruments
from matching.operations.audit.results import BREACHES_LISTED_MAX, CheckResult
from orders.messages import heartbeat_key

OVERDUE = "overdue"
# Time for a worker to do what is overdue. It is looked at twice at least.
CATCH_UP_SECONDS_MAX = 5.0
CATCH_UP_POLL_SECONDS = 0.1

_OVERDUE_SQL = f"""
SELECT concat(what, ': ', why, ' ', to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
    count(*) OVER ()
FROM (
    SELECT 'order ' || placed.order_id AS what, 'should have expired at' AS why, placed.expires_at AS due
    FROM orders_order AS placed JOIN instruments_instrument AS instrument ON instrument.id = placed.instrument_id
    WHERE placed.status IN ('pending', 'open', 'partially_filled')
        AND placed.expires_at < %(before)s AND instrument.partition = %(partition)s
    UNION ALL
    SELECT 'order ' || placed.order_id, 'has not entered the book since its trigger at', placed.triggered_at
    FROM orders_order AS placed JOIN instruments_instrument AS instrument ON instrument.id = placed.instrument_id
    WHERE placed.status = 'pending'
        AND placed.triggered_at < %(before)s AND instrument.partition = %(partition)s
    UNION ALL
    SELECT concat('switch of client ', client_id, ' in partition ', partition), 'should have run out at', cancel_at
    FROM orders_cancelafter WHERE cancel_at < %(before)s AND partition = %(partition)s
) AS overdue
ORDER BY due LIMIT {BREACHES_LISTED_MAX}
"""  # noqa: S608 - joined from constants only


class _Overdue(NamedTuple):
    """What is overdue in a partition: the first lines, and the count of all."""

    lines: list[str]
    total: int


def audit_overdue() -> CheckResult:
    """Check every partition that a worker matches. Raises django.db.Error."""
    started = time.perf_counter()
    breaches: list[str] = []
    count = 0
    skipped: list[str] = []
    partitions = sorted({instrument.partition for instrument in load_instruments().values()})
    try:
        matched = asyncio.run(_find_matched(partitions))
    except (RedisError, OSError) as error:
        matched = set()
        skipped.append(f"Redis does not answer: {error}")
    else:
        skipped += [
            f"partition {number}: no worker matches it" for number in partitions if number not in matched
        ]
    for partition in sorted(matched):
        first, last = _watch(partition)
        if last.total and last.total < first.total:
            skipped.append(f"partition {partition}: its worker is catching up; {last.total:,} are overdue")
        else:
            breaches += last.lines
            count += last.total
    return CheckResult(
        name=OVERDUE,
        promise="A matching worker does what is due: orders expire, switches run out, triggered orders enter.",
        seconds=time.perf_counter() - started,
        breaches=breaches[:BREACHES_LISTED_MAX],
        breach_count=count,
        skipped=skipped,
    )


async def _find_matched(partitions: Iterable[int]) -> set[int]:
    """Return the partitions that a worker matches. Raises RedisError, OSError."""
    redis = connect_redis()
    try:
        return {number for number in partitions if await redis.exists(heartbeat_key(number))}
    finally:
        await redis.aclose()


def _watch(partition: int) -> tuple[_Overdue, _Overdue]:
    """Return what is overdue in a partition at first, and after the time to catch up."""
    before = datetime.now(UTC) - timedelta(seconds=settings.AUDIT_OVERDUE_SECONDS)
    first = last = _find_overdue(partition, before)
    deadline = time.perf_counter() + CATCH_UP_SECONDS_MAX
    while last.total:
        time.sleep(CATCH_UP_POLL_SECONDS)
        last = _find_overdue(partition, before)
        if time.perf_counter() >= deadline:
            break
    return first, last


def _find_overdue(partition: int, before: datetime) -> _Overdue:
    with connection.cursor() as cursor:
        cursor.execute(_OVERDUE_SQL, {"partition": partition, "before": before})
        rows = cursor.fetchall()
    return _Overdue([line for line, _ in rows], rows[0][1] if rows else 0)
