"""The admin's front page: the exchange's health, the progress of its workers, and its market.

Each part has sources that take a limited time: the check of GET /healthz, one round trip to Redis,
a few statements of the database, and the metrics files. If a source does not answer, its part says
so, and the other parts are still shown.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest

from instruments.directory import TradedInstrument, load_instruments
from marketdata.book import BookLevel, mirror_keys
from matching.models import Checkpoint
from operators.admin.audit import change_text
from operators.latency import recent_latency
from operators.markets import BookTop, market_of, read_markets
from operators.models import AuditRecord
from orders.health import Health, current_health
from orders.messages import heartbeat_key, stream_key
from orders.models import Order
from orders.time_keys import first_key


class _PartitionState(NamedTuple):
    """The state of a partition according to Redis and the database."""

    number: int
    symbols: str
    matched: bool | None  # None if Redis does not answer.
    owner: str
    epoch: int | None
    lease_seconds: float | None  # Time left. Negative if the lease has expired.
    queue_length: int | None
    oldest_seconds: float | None  # Age of the first command in the queue.


class _RedisAnswers(NamedTuple):
    """The results of one round trip to Redis."""

    matched: dict[int, bool]
    queues: dict[int, tuple[int, float | None]]
    books: dict[str, BookTop]


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the front page's values to the context, as UNFOLD's DASHBOARD_CALLBACK."""
    user: Any = request.user
    may_see_orders = user.has_perm("orders.view_order")
    instruments = list(load_instruments().values())
    shown = instruments[: settings.DASHBOARD_INSTRUMENTS_MAX]
    numbers = sorted({instrument.partition for instrument in instruments})[
        : settings.DASHBOARD_PARTITIONS_MAX
    ]
    answers = _read_redis(numbers, shown)
    reads = read_markets([row.instrument_id for row in shown], with_orders=may_see_orders)
    states = _partition_states(numbers, instruments, answers)
    health = async_to_sync(_check_health)()
    context.update(
        now=datetime.now(UTC),
        health=health.state,
        problems=health.problems,
        partitions=states,
        markets=[market_of(row, answers.books[row.symbol] if answers else BookTop(), reads) for row in shown],
        markets_more=len(instruments) - len(shown),
        active_count=sum(not row.halted for row in instruments),
        halted_count=sum(row.halted for row in instruments),
        may_halt=user.has_perm("instruments.change_instrument"),
        may_see_orders=may_see_orders,
        queue_length=sum(state.queue_length or 0 for state in states) if answers else None,
        orders_per_second=_orders_per_second() if may_see_orders else None,
        rate_seconds=settings.DASHBOARD_RATE_SECONDS,
        latency=recent_latency(),
        acts=_last_acts() if user.has_perm("operators.view_auditrecord") else None,
    )
    return context


def _read_redis(numbers: Sequence[int], instruments: Sequence[TradedInstrument]) -> _RedisAnswers | None:
    """Read partitions and books. None if Redis does not answer within DASHBOARD_SECONDS_MAX."""
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=settings.DASHBOARD_SECONDS_MAX,
            socket_connect_timeout=settings.DASHBOARD_SECONDS_MAX,
        ) as client:
            pipeline = client.pipeline(transaction=False)
            for number in numbers:
                pipeline.exists(heartbeat_key(number))
                pipeline.xlen(stream_key(number))
                pipeline.xrange(stream_key(number), count=1)
            for instrument in instruments:
                keys = mirror_keys(instrument.partition, instrument.symbol)
                pipeline.get(keys.sequence)
                pipeline.zrevrange(keys.bids, 0, 0)
                pipeline.zrange(keys.asks, 0, 0)
            answers = iter(pipeline.execute())
    except (redis.RedisError, OSError):
        return None
    matched, queues, books = {}, {}, {}
    for number in numbers:
        matched[number] = bool(next(answers))
        length, first = next(answers), next(answers)
        queues[number] = (int(length), _age(first))
    for instrument in instruments:
        sequence, bids, asks = next(answers), next(answers), next(answers)
        books[instrument.symbol] = BookTop(
            None if sequence is None else int(sequence), _best(bids), _best(asks)
        )
    return _RedisAnswers(matched, queues, books)


def _age(entries: Sequence[tuple[bytes, Any]]) -> float | None:
    """Return the first entry's age in seconds. Ids of entries begin with Redis' time."""
    if not entries:
        return None
    milliseconds = int(entries[0][0].partition(b"-")[0])
    return max(0.0, time.time() - milliseconds / 1000)


def _best(levels: Sequence[bytes]) -> BookLevel | None:
    return BookLevel(*map(int, levels[0].split(b":"))) if levels else None


def _partition_states(
    numbers: Sequence[int], instruments: Sequence[TradedInstrument], answers: _RedisAnswers | None
) -> list[_PartitionState]:
    checkpoints: Mapping[int, Checkpoint] = Checkpoint.objects.in_bulk(numbers)
    now = datetime.now(UTC)
    states = []
    for number in numbers:
        checkpoint = checkpoints.get(number)
        length, oldest = answers.queues[number] if answers else (None, None)
        states.append(
            _PartitionState(
                number=number,
                symbols=", ".join(row.symbol for row in instruments if row.partition == number),
                matched=answers.matched[number] if answers else None,
                owner=checkpoint.owner if checkpoint else "",
                epoch=checkpoint.epoch if checkpoint else None,
                lease_seconds=(checkpoint.lease_expires_at - now).total_seconds() if checkpoint else None,
                queue_length=length,
                oldest_seconds=oldest,
            )
        )
    return states


async def _check_health() -> Health:
    """Return the health that this process shares with GET /healthz."""
    return await current_health().get()


def _orders_per_second() -> float:
    """Return the rate in the last DASHBOARD_RATE_SECONDS. Keys of orders begin with their times."""
    since = datetime.now(UTC) - timedelta(seconds=settings.DASHBOARD_RATE_SECONDS)
    recent = Order.objects.filter(pk__gte=first_key(since)).order_by()
    return recent[: settings.DASHBOARD_ORDERS_COUNTED_MAX].count() / settings.DASHBOARD_RATE_SECONDS


def _last_acts() -> list[tuple[AuditRecord, str]]:
    return [(record, change_text(record)) for record in AuditRecord.objects.all()[: settings.DASHBOARD_ACTS]]
