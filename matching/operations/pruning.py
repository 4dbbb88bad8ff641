"""Deletes old history from the database: finished orders, then trades and events without orders.

An order that stays keeps all its trades and events, so that its filled quantity remains the sum of
its trades, and its earlier prices are known. A trade, or an event of two orders, is deleted once
both of its orders may be deleted. Candles stay, and so do all statistics. The transaction that
deletes orders also stores the sequence up to which history may be missing, so that the audit knows
which gaps are intended.

Each page of rows has a transaction of its own. The exchange may run meanwhile: finished orders
never change again, so pruning and matching do not wait for each other. An interrupted run has
deleted whole pages, and the next run continues.

An order's idempotency key is deleted with the order. If a client sends that key again, it places a
new order.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from matching.models import PrunedHistory
from orders.models import LIVE_STATUSES
from orders.time_keys import CLOCK_DIFFERENCE_MAX, first_key

Archive = Callable[[Sequence[str]], None]


class Page(NamedTuple):
    """The progress of one page of a table."""

    table: str  # "orders", "trades" or "events"
    rows: int  # rows that were examined
    total: int  # all rows to examine, on the first page of a table or instrument; 0 on others
    pruned: int  # rows that are deleted


# The condition for deleting an order. The time in its id and `updated_at` may come from different
# clocks, so both are compared.
_OLD = "{order}.order_id < %(end)s AND {order}.updated_at < %(before)s AND {order}.status <> ALL(%(live)s)"

_COUNT_ORDERS = "SELECT count(*) FROM orders_order WHERE order_id < %(end)s"
_PAGE_OF_ORDERS = """
SELECT order_id FROM orders_order WHERE order_id > %(after)s AND order_id < %(end)s
ORDER BY order_id LIMIT %(rows)s
"""
_FIND_ORDERS = f"""
SELECT instrument_id, max(sequence), count(*) FROM orders_order AS old
WHERE order_id > %(after)s AND order_id <= %(last)s AND {_OLD.format(order="old")}
GROUP BY instrument_id
"""  # noqa: S608 - joined from constants only
_DELETE_ORDERS = f"""
WITH gone AS (
  DELETE FROM orders_order AS old
  WHERE order_id > %(after)s AND order_id <= %(last)s AND {_OLD.format(order="old")}
  RETURNING *
), marked AS (
  INSERT INTO matching_prunedhistory AS pruned (instrument_id, sequence, time)
  SELECT instrument_id, max(sequence), max(updated_at) FROM gone GROUP BY instrument_id
  ON CONFLICT (instrument_id) DO UPDATE
  SET sequence = greatest(pruned.sequence, excluded.sequence), time = greatest(pruned.time, excluded.time)
)
SELECT CASE WHEN %(archived)s THEN json_build_object('order', gone)::text END FROM gone
"""  # noqa: S608


class _Dependents(NamedTuple):
    """A table whose rows belong to orders, and have numbers of an instrument's sequence.

    `name` is the name of one row, and `orders` the columns with its orders.
    """

    name: str
    table: str
    orders: str

    @property
    def count_rows(self) -> str:
        return (
            f"SELECT count(*) FROM {self.table} "  # noqa: S608 - joined from constants only
            "WHERE instrument_id = %(instrument)s AND sequence <= %(end_sequence)s"
        )

    @property
    def keys_of_page(self) -> str:
        return (
            f"SELECT sequence FROM {self.table} WHERE instrument_id = %(instrument)s "  # noqa: S608
            "AND sequence > %(after)s AND sequence <= %(end_sequence)s ORDER BY sequence LIMIT %(rows)s"
        )

    @property
    def count_prunable(self) -> str:
        return f"SELECT count(*) {self._prunable}"

    @property
    def delete(self) -> str:
        return (
            f"WITH gone AS (DELETE {self._prunable} RETURNING *) "  # noqa: S608
            f"SELECT CASE WHEN %(archived)s THEN json_build_object('{self.name}', gone)::text END FROM gone"
        )

    @property
    def _prunable(self) -> str:
        return f"""
            FROM {self.table} WHERE instrument_id = %(instrument)s AND sequence > %(after)s AND sequence <= %(last)s
            AND NOT EXISTS (
                SELECT FROM orders_order AS kept
                WHERE kept.order_id = ANY(ARRAY[{self.orders}]) AND NOT ({_OLD.format(order="kept")})
            )
        """


_DEPENDENTS = (
    _Dependents("trade", "orders_trade", "maker_order_id, taker_order_id"),
    _Dependents("event", "orders_orderevent", "orders_orderevent.order_id, taker_order_id"),
)

_BEFORE_ALL = UUID(int=0)


def prune(before: datetime, *, archive: Archive | None = None) -> Iterator[Page]:
    """Delete history that finished before `before`. Each step of the iterator deletes one page.

    `archive` receives the rows of a page before the deletion is committed. Each is a JSON text with
    the row by column, `{"order": {...}}`, `{"trade": {...}}` or `{"event": {...}}`. If `archive`
    raises, the page stays. Raises django.db.Error and the errors of `archive`.
    """
    terms = _common_parameters(before) | {"archived": archive is not None}
    with connection.cursor() as cursor:

        def delete(statement: str, page: dict[str, Any]) -> int:
            with transaction.atomic():
                cursor.execute(statement, page)
                rows = [row[0] for row in cursor.fetchall()]
                if archive is not None and rows:
                    archive(rows)
            return len(rows)

        for page in _order_pages(terms):
            yield Page("orders", page["looked_at"], page["total"], delete(_DELETE_ORDERS, page))
        for dependents in _DEPENDENTS:
            for page in _dependent_pages(dependents, terms, _pruned_sequences()):
                deleted = delete(dependents.delete, page)
                yield Page(f"{dependents.name}s", page["looked_at"], page["total"], deleted)


def find_prunable(before: datetime) -> Iterator[Page]:
    """Yield the pages of `prune` with the counts that it would delete. Changes nothing."""
    terms = _common_parameters(before)
    ends = _pruned_sequences()
    with connection.cursor() as cursor:
        for page in _order_pages(terms):
            cursor.execute(_FIND_ORDERS, page)
            found = 0
            for instrument_id, sequence, count in cursor.fetchall():
                ends[instrument_id] = max(ends.get(instrument_id, 0), sequence)
                found += count
            yield Page("orders", page["looked_at"], page["total"], found)
        for dependents in _DEPENDENTS:
            for page in _dependent_pages(dependents, terms, ends):
                cursor.execute(dependents.count_prunable, page)
                yield Page(f"{dependents.name}s", page["looked_at"], page["total"], cursor.fetchone()[0])


def _common_parameters(before: datetime) -> dict[str, Any]:
    return {
        "before": before,
        "end": first_key(before + CLOCK_DIFFERENCE_MAX),
        "live": [str(status) for status in LIVE_STATUSES],
        "rows": settings.PRUNE_ROWS_PER_PAGE,
    }


def _pruned_sequences() -> dict[int, int]:
    """Return the sequence up to which history may be missing, by instrument.

    Each trade, and each event, after that sequence has its orders.
    """
    return dict(PrunedHistory.objects.values_list("instrument_id", "sequence"))


def _order_pages(terms: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pages of orders by id, which grows with time."""
    yield from _pages(_COUNT_ORDERS, _PAGE_OF_ORDERS, terms | {"after": _BEFORE_ALL})


def _dependent_pages(
    dependents: _Dependents, terms: dict[str, Any], end_sequences: dict[int, int]
) -> Iterator[dict[str, Any]]:
    """Yield the pages of a table by sequence, one instrument after the other."""
    for instrument_id, end_sequence in end_sequences.items():
        rows = {"instrument": instrument_id, "end_sequence": end_sequence, "after": 0}
        yield from _pages(dependents.count_rows, dependents.keys_of_page, terms | rows)


def _pages(count: str, keys_of_page: str, terms: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statement parameters of each page.

    `after` and `last` are the keys before the page and at its end. `looked_at` is the number of its
    rows. `total` is the number of all rows on the first page, and 0 on others.
    """
    with connection.cursor() as cursor:
        cursor.execute(count, terms)
        (total,) = cursor.fetchone()
        while True:
            cursor.execute(keys_of_page, terms)
            keys = [key for (key,) in cursor.fetchall()]
            if not keys:
                return
            yield terms | {"last": keys[-1], "looked_at": len(keys), "total": total}
            terms = terms | {"after": keys[-1]}
            total = 0
