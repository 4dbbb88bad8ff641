"""What operators do to instruments: halt, resume, move to another partition, delete.

Halts reach a worker as a command in its stream, or within INSTRUMENT_CACHE_SECONDS by itself.

A book moves with its instrument, and no order may be taken into the old book once the new one is loaded. So a move
and a delete raise the epoch of the old partition's checkpoint in their own transaction. A worker commits by
compare-and-set on the epoch: its commit is either before the move, and the new worker loads what it wrote, or it
fails, and the worker loads its books again, without the instrument. The price: the old partition pauses as long as
its worker needs to load its books.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction

from marketdata.models import BookSequence, Candle, PrunedHistory
from operators.audit import Actor, Change, record, state_of
from operators.models import Act
from orders.models import RESTING_STATUSES, Instrument, Order

OBJECT_TYPE = "instrument"


class InstrumentError(Exception):
    """An instrument can't be changed in this way; the message says why and what to do."""


class StatusChange(NamedTuple):
    """Instruments whose status was set, and those that had it already."""

    changed: list[Instrument]
    unchanged: list[Instrument]


def find_instruments(symbols: Sequence[str]) -> list[Instrument]:
    """Those instruments, locked. Raises InstrumentError if one does not exist; call it in a transaction."""
    found = list(Instrument.objects.select_for_update().filter(symbol__in=symbols).order_by("symbol"))
    unknown = sorted(set(symbols) - {instrument.symbol for instrument in found})
    if unknown:
        known = ", ".join(Instrument.objects.order_by("symbol").values_list("symbol", flat=True)[:20])
        raise InstrumentError(
            f"unknown: {', '.join(unknown)}. Nothing was changed. There are: {known or 'none'}."
        )
    return found


def set_status(
    symbols: Sequence[str], status: Instrument.Status, actor: Actor, *, note: str = ""
) -> StatusChange:
    """Halt or resume. The workers must be told afterwards: `operators.announcements`. Raises InstrumentError."""
    act = Act.HALT if status == Instrument.Status.HALTED else Act.RESUME
    with transaction.atomic():
        found = find_instruments(symbols)
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
    """Whether anything refers to it. Without an index on instruments the last look may pass over all orders.

    It ends after OPERATOR_STATEMENT_SECONDS_MAX with OperationalError if the caller has bounded the statement.
    """
    references: list[Any] = [
        BookSequence.objects.filter(instrument=instrument),
        PrunedHistory.objects.filter(instrument=instrument),
        Candle.objects.filter(instrument=instrument),
        Order.objects.filter(instrument=instrument, status__in=RESTING_STATUSES),
        Order.objects.filter(instrument=instrument),
    ]
    return any(rows.exists() for rows in references)


def delete_unused(instrument: Instrument, actor: Actor, *, note: str = "") -> None:
    """Delete an instrument that never had an order. Raises InstrumentError."""
    with transaction.atomic():
        bound_statements()
        _fence(instrument.partition)
        _lock_where_it_is(instrument)
        _refuse_if_used(instrument, "deleted. Halt it instead")
        before = state_of(instrument)
        Instrument.objects.filter(pk=instrument.pk)._raw_delete("default")
        record(actor, Act.DELETE, [Change(OBJECT_TYPE, instrument.symbol, before, None)], note=note)


def move(instrument: Instrument, partition: int, actor: Actor, *, unused_only: bool, note: str = "") -> None:
    """Give an instrument to another partition's worker, which loads its book when it is told.

    With `unused_only` an instrument that has had orders is refused. Raises InstrumentError.
    """
    with transaction.atomic():
        bound_statements()
        _fence(instrument.partition)
        _lock_where_it_is(instrument)
        if unused_only:
            _refuse_if_used(
                instrument,
                f"moved here. Use manage.py move_instrument {instrument.symbol} --partition {partition}",
            )
        before, instrument.partition = instrument.partition, partition
        instrument.save(update_fields=["partition"])
        change = Change(OBJECT_TYPE, instrument.symbol, {"partition": before}, {"partition": partition})
        record(actor, Act.MOVE, [change], note=note)


def bound_statements() -> None:
    """In this transaction no statement and no wait for a lock takes more than OPERATOR_STATEMENT_SECONDS_MAX."""
    milliseconds = str(round(settings.OPERATOR_STATEMENT_SECONDS_MAX * 1000))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
            [milliseconds, milliseconds],
        )


def _lock_where_it_is(instrument: Instrument) -> None:
    """Lock the instrument until the transaction ends, and refuse if somebody has moved or deleted it meanwhile.

    Only the partition that the caller knows is fenced. If it were moved again from there, its worker of now would
    match on beside the next one. The fence comes first: a worker, too, locks its checkpoint before anything else.
    """
    now = Instrument.objects.select_for_update().filter(pk=instrument.pk).first()
    if now is None:
        raise InstrumentError(f"{instrument.symbol} was deleted meanwhile. Nothing was changed.")
    if now.partition != instrument.partition:
        raise InstrumentError(
            f"{instrument.symbol} is in partition {now.partition} now, and no longer in {instrument.partition}. "
            "Nothing was changed; look again."
        )


def _refuse_if_used(instrument: Instrument, what: str) -> None:
    if has_orders(instrument):
        raise InstrumentError(f"{instrument.symbol} has had orders, so it can't be {what}.")


def _fence(partition: int) -> None:
    """Let the next commit of the partition's worker fail: then it loads its books again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT operators_fence_partition(%s)", [partition])
