"""Operators' changes of instruments: halt, resume, move to another partition, delete.

A worker learns of a halt from a command in its stream, or when it reads the instruments again after
INSTRUMENT_CACHE_SECONDS.

A book moves with its instrument. Once the new worker has loaded the book, no order may enter the
old one. So a move or a delete raises the epoch of the old partition's checkpoint in the same
transaction. A worker commits by compare-and-set on the epoch:
- If it commits before the move, the new worker loads what it wrote.
- If it commits after the move, the commit fails, and it loads its books again, without the
  instrument.

The cost: the old partition pauses while its worker loads its books.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable, QueryCanceled

from instruments.models import Instrument
from marketdata.models import BookSequence, Candle
from matching.models import PrunedHistory
from operators.audit import Actor, Change, record, state_of
from operators.models import Act
from orders.models import LIVE_STATUSES, Order

OBJECT_TYPE = "instrument"


class InstrumentError(Exception):
    """An instrument can't be changed in this way. The message says why and what to do."""


def failure_text(error: Exception) -> str:
    """Return the message for an operator whose change of an instrument failed."""
    if isinstance(error, InstrumentError):
        return f"Nothing was changed: {error}"
    return f"It is not known whether the change was made: {error}. Look at the instrument, and try again."


class StatusChange(NamedTuple):
    """Instruments whose status was set, and instruments that had it already."""

    changed: list[Instrument]
    unchanged: list[Instrument]


def _find_instruments(symbols: Sequence[str]) -> list[Instrument]:
    """Lock and return the instruments. Call it in a transaction.

    Raises InstrumentError if one does not exist.
    """
    found = list(Instrument.objects.select_for_update().filter(symbol__in=symbols).order_by("symbol"))
    unknown = sorted(set(symbols) - {instrument.symbol for instrument in found})
    if unknown:
        known = ", ".join(Instrument.objects.order_by("symbol").values_list("symbol", flat=True)[:20])
        raise InstrumentError(f"unknown: {', '.join(unknown)}. Known are: {known or 'none'}.")
    return found


def set_status(
    symbols: Sequence[str], status: Instrument.Status, actor: Actor, *, note: str = ""
) -> StatusChange:
    """Halt or resume instruments. Raises InstrumentError.

    The caller must announce the change to the workers afterwards: see `operators.announcements`.
    """
    act = Act.HALT if status == Instrument.Status.HALTED else Act.RESUME
    with bounded_change():
        found = _find_instruments(symbols)
        changed = [instrument for instrument in found if instrument.status != status]
        changes = []
        for instrument in changed:
            changes.append(
                Change(
                    OBJECT_TYPE, instrument.symbol, {"status": instrument.status}, {"status": status.value}
                )
            )
            instrument.status = status
            instrument.save(update_fields=["status"])
        record(actor, act, changes, note=note)
    return StatusChange(changed, [instrument for instrument in found if instrument not in changed])


def has_orders(instrument: Instrument) -> bool:
    """Return whether an order, a candle or other history refers to the instrument.

    There is no index of orders by instrument, so the last query may read all orders. After
    `bound_statements`, it ends with OperationalError after OPERATOR_STATEMENT_SECONDS_MAX.
    """
    references: list[Any] = [
        BookSequence.objects.filter(instrument=instrument),
        PrunedHistory.objects.filter(instrument=instrument),
        Candle.objects.filter(instrument=instrument),
        Order.objects.filter(instrument=instrument, status__in=LIVE_STATUSES),
        Order.objects.filter(instrument=instrument),
    ]
    return any(rows.exists() for rows in references)


def delete_unused(instrument: Instrument, actor: Actor, *, note: str = "") -> None:
    """Delete an instrument that never had an order. Raises InstrumentError."""
    with bounded_change():
        fence(instrument.partition)
        lock_in_partition(instrument)
        _refuse_if_used(instrument, "deleted. Halt it instead")
        before = state_of(instrument)
        Instrument.objects.filter(pk=instrument.pk)._raw_delete("default")
        record(actor, Act.DELETE, [Change(OBJECT_TYPE, instrument.symbol, before, None)], note=note)


def move(instrument: Instrument, partition: int, actor: Actor, *, unused_only: bool, note: str = "") -> None:
    """Give an instrument to another partition, whose worker loads the book once it is told.

    Raises InstrumentError, with `unused_only` also if the instrument has had orders.
    """
    with bounded_change():
        fence(instrument.partition)
        lock_in_partition(instrument)
        if unused_only:
            _refuse_if_used(
                instrument,
                f"moved here. Use manage.py move_instrument {instrument.symbol} --partition {partition}",
            )
        before, instrument.partition = instrument.partition, partition
        instrument.save(update_fields=["partition"])
        change = Change(OBJECT_TYPE, instrument.symbol, {"partition": before}, {"partition": partition})
        record(actor, Act.MOVE, [change], note=note)


@contextmanager
def bounded_change() -> Iterator[None]:
    """A transaction with bounded statements. Raises InstrumentError if one takes too long."""
    try:
        with transaction.atomic():
            bound_statements()
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable | QueryCanceled):
            raise InstrumentError(
                f"another change, or the database, kept this change waiting for longer than"
                f" {settings.OPERATOR_STATEMENT_SECONDS_MAX:g} s. Try again."
            ) from error
        raise


def bound_statements(seconds_max: float | None = None) -> None:
    """Limit each statement and each wait for a lock, by default to OPERATOR_STATEMENT_SECONDS_MAX.

    The limit holds until the transaction ends.
    """
    milliseconds = str(round((seconds_max or settings.OPERATOR_STATEMENT_SECONDS_MAX) * 1000))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
            [milliseconds, milliseconds],
        )


def lock_in_partition(instrument: Instrument) -> None:
    """Lock the instrument until the transaction ends.

    Raises InstrumentError if the instrument was deleted or moved in the meantime. Only the
    partition that the caller knows is fenced, so the worker of another partition would go on
    matching. The fence comes before this lock, because a worker locks its checkpoint before
    anything else, too.
    """
    now = Instrument.objects.select_for_update().filter(pk=instrument.pk).first()
    if now is None:
        raise InstrumentError(f"{instrument.symbol} was deleted in the meantime.")
    if now.partition != instrument.partition:
        raise InstrumentError(
            f"{instrument.symbol} is in partition {now.partition} now, and no longer in {instrument.partition}. "
            "Reload the instrument."
        )


def _refuse_if_used(instrument: Instrument, refused_change: str) -> None:
    if has_orders(instrument):
        raise InstrumentError(f"{instrument.symbol} has had orders, so it can't be {refused_change}.")


def fence(partition: int) -> bool:
    """Make the next commit of the partition's worker fail, so that it loads its books again.

    Until the transaction ends, the worker can't commit. Returns whether the partition ever had one.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT operators_fence_partition(%s)", [partition])
        (is_fenced,) = cursor.fetchone()
    return bool(is_fenced)
