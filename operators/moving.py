"""Moves an instrument that has orders to another partition, in four steps.

1. Halt: the old worker confirms that it knows of the halt.
2. Drain: within INSTRUMENT_CACHE_SECONDS all API processes know of the halt, too. Then the old
   worker confirms once more. Its confirmation follows everything that was in its stream until then.
3. Move: one transaction changes the partition and fences the old worker. See
   `operators.instruments`.
4. Load: both workers are told, and the new one confirms that it has the book.

The move may be interrupted between any two steps and run again. An API process that can't refresh
its instruments may still send commands to the old partition, which refuses them.
"""

import time
from collections.abc import Callable

from django.conf import settings
from redis.exceptions import RedisError

from base.refusals import OutcomeUnknown, Unavailable
from instruments.models import Instrument
from operators import partitions
from operators.announcements import announce_now, inspect
from operators.audit import Actor
from operators.instruments import move, set_status

_DRAIN_MARGIN_SECONDS = 0.5


class MoveError(Exception):
    """The move can't go on. The message says why, what was done, and what to do."""


class Move:
    """The move of one instrument to another partition."""

    def __init__(
        self,
        instrument: Instrument,
        partition: int,
        *,
        actor: Actor,
        note: str,
        without_workers: bool,
        report: Callable[[str], object],
    ) -> None:
        self._instrument = instrument
        self._old, self._new = instrument.partition, partition
        self._actor = actor
        self._note = note
        self._without_workers = without_workers
        self._report = report

    def run(self, *, halt: bool, resume: bool) -> None:
        """Move the instrument. Raises MoveError, InstrumentError, DatabaseError."""
        if self._old == self._new:
            self._report(f"{self._symbol}: already in partition {self._new}")
        else:
            self._check_workers()
            self._halt(halt)
            self._drain()
            self._move()
        self._confirm_loaded()
        if resume:
            self._set_status(Instrument.Status.ACTIVE)
            announce_now([self._new])
            self._report(f"{self._symbol}: active")
        else:
            self._report(f"Resume trading with: manage.py resume {self._symbol}")

    @property
    def _symbol(self) -> str:
        return self._instrument.symbol

    def _check_workers(self) -> None:
        if self._without_workers:
            return
        for partition in (self._old, self._new):
            reason = partitions.why_unmatched(partition)
            if reason:
                raise MoveError(f"{reason}; or use --without-workers. Nothing was changed.")

    def _halt(self, halt: bool) -> None:
        if self._instrument.status != Instrument.Status.HALTED:
            if not halt:
                raise MoveError(
                    f"{self._symbol} is not halted. Halt it with manage.py halt {self._symbol}, or use --halt. "
                    "Nothing was changed."
                )
            self._set_status(Instrument.Status.HALTED)
        self._report(f"{self._symbol}: halted")
        self._await_worker()

    def _drain(self) -> None:
        time.sleep(
            settings.INSTRUMENT_CACHE_SECONDS + settings.INSTRUMENT_REFRESH_SECONDS + _DRAIN_MARGIN_SECONDS
        )
        self._await_worker()
        self._report(f"{self._symbol}: drained, partition {self._old} has no more commands for it")

    def _await_worker(self) -> None:
        """Return once the old worker knows of the halt and has done everything in its stream."""
        unconfirmed = announce_now([self._old])
        if unconfirmed and not self._without_workers:
            raise MoveError(
                f"{self._symbol} is halted, but the worker of partition {self._old} does not confirm it: "
                f"{unconfirmed[self._old]} Run this again when it does, or use --without-workers."
            )

    def _move(self) -> None:
        move(self._instrument, self._new, self._actor, unused_only=False, note=self._note)
        self._report(f"{self._symbol}: moved from partition {self._old} to {self._new}")
        unconfirmed = announce_now([self._old, self._new])
        for partition, reason in unconfirmed.items():
            self._report(f"The worker of partition {partition} did not confirm the move: {reason}")
        partitions.forget_mirror(self._old, self._symbol)

    def _confirm_loaded(self) -> None:
        """Check that the new worker has the book. It loads the book before it runs `inspect`."""
        try:
            state = inspect(self._new).get(self._symbol)
        except (Unavailable, OutcomeUnknown, RedisError) as error:
            if self._without_workers:
                return
            raise MoveError(
                f"Partition {self._new} does not confirm yet that it has the book: {error}"
            ) from None
        if state is None:
            raise MoveError(
                f"The worker of partition {self._new} has no book of {self._symbol} yet. Run this again."
            )
        self._report(f"{self._symbol}: partition {self._new} has its book, at sequence {state.sequence}")

    def _set_status(self, status: Instrument.Status) -> None:
        set_status([self._symbol], status, self._actor, note=self._note)
        self._instrument.status = status
