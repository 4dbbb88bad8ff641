"""Deletes old history from the database: finished orders, and trades without remaining orders.

An order that stays keeps all its trades, so that its filled quantity remains the sum of its trades.
A trade is deleted once both of its orders may be deleted. Candles stay, and so do all statistics.
The transaction that deletes orders also stores the sequence up to which history may be missing, so
that the audit knows which gaps are intended.

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
from orders.models import RESTING_STATUSES
from orders.time_keys import CLOCK_DIFFERENCE_MAX, first_key

Archive = Callable[[Sequence[str]], None]


class Page(NamedTuple):
    """The progress of one page of a table."""

    table: str  # "orders" or "trades"
    rows: int  # rows that were examined
    total: int  # all rows to examine, on the first page of a table or instrument; 0 on others
    pruned: int  # rows that are deleted


# The condition for deleting an order. The time in its id and `updated_at` may come from different
# clocks, so both are compared.
_OLD = "{order}.order_id < %(end)s AND {order}.updated_at < %(before)s AND {order}.status <> ALL(%(resting)s)"

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

_COUNT_TRADES = """
SELECT count(*) FROM orders_trade WHERE instrument_id = %(instrument)s AND sequence <= %(end_sequence)s
"""
_PAGE_OF_TRADES = """
SELECT sequence FROM orders_trade
WHERE instrument_id = %(instrument)s AND sequence > %(after)s AND sequence <= %(end_sequence)s
ORDER BY sequence LIMIT %(rows)s
"""
_PRUNABLE_TRADES = f"""
instrument_id = %(instrument)s AND sequence > %(after)s AND sequence <= %(last)s AND NOT EXISTS (
  SELECT FROM orders_order AS kept
  WHERE kept.order_id = ANY(ARRAY[trade.maker_order_id, trade.taker_order_id])
    AND NOT ({_OLD.format(order="kept")})
)
"""
_FIND_TRADES = f"SELECT count(*) FROM orders_trade AS trade WHERE {_PRUNABLE_TRADES}"  # noqa: S608
_DELETE_TRADES = f"""
WITH gone AS (DELETE FROM orders_trade AS trade WHERE {_PRUNABLE_TRADES} RETURNING *)
SELECT CASE WHEN %(archived)s THEN json_build_object('trade', gone)::text END FROM gone
"""  # noqa: S608

_BEFORE_ALL = UUID(int=0)


def prune(before: datetime, *, archive: Archive | None = None) -> Iterator[Page]:
    """Delete history that finished before `before`. Each step of the iterator deletes one page.

    `archive` receives the rows of a page before the deletion is committed. Each is a JSON text with
    the row by column, `{"order": {...}}` or `{"trade": {...}}`. If `archive` raises, the page
    stays. Raises django.db.Error and the errors of `archive`.
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
        for page in _trade_pages(terms, _pruned_sequences()):
            yield Page("trades", page["looked_at"], page["total"], delete(_DELETE_TRADES, page))


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
        for page in _trade_pages(terms, ends):
            cursor.execute(_FIND_TRADES, page)
            yield Page("trades", page["looked_at"], page["total"], cursor.fetchone()[0])


def _common_parameters(before: datetime) -> dict[str, Any]:
    return {
        "before": before,
        "end": first_key(before + CLOCK_DIFFERENCE_MAX),
        "resting": [str(status) for status in RESTING_STATUSES],
        "rows": settings.PRUNE_ROWS_PER_PAGE,
    }


def _pruned_sequences() -> dict[int, int]:
    """Return the sequence up to which history may be missing, by instrument.

    Each trade after that sequence has both of its orders.
    """
    return dict(PrunedHistory.objects.values_list("instrument_id", "sequence"))


def _order_pages(terms: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pages of orders by id, which grows with time."""
    yield from _pages(_COUNT_ORDERS, _PAGE_OF_ORDERS, terms | {"after": _BEFORE_ALL})


def _trade_pages(terms: dict[str, Any], end_sequences: dict[int, int]) -> Iterator[dict[str, Any]]:
    """Yield the pages of trades by sequence, one instrument after the other."""
    for instrument_id, end_sequence in end_sequences.items():
        trades = {"instrument": instrument_id, "end_sequence": end_sequence, "after": 0}
        yield from _pages(_COUNT_TRADES, _PAGE_OF_TRADES, terms | trades)


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
