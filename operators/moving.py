"""The steps of a move of an instrument that has orders, from the halt to the loaded book.

1. Halted. The old worker confirms that it knows.
2. Drained: API processes forget that it was active within INSTRUMENT_CACHE_SECONDS; after that the old worker
   confirms once more, behind everything that was in its stream until then.
3. Moved, in one transaction that fences the old worker: see `operators.instruments`.
4. Loaded: both workers are told, and the new one shows that it has the book.

It may be broken off between any two steps and run again. What an API process sends to the old partition with a copy
of the instruments that is still older is refused there, and nothing of it is taken.
"""

import time
from collections.abc import Callable

from django.conf import settings
from redis.exceptions import RedisError

from base.refusals import OutcomeUnknown, Unavailable
from operators import partitions
from operators.announcements import announce_now, inspect
from operators.audit import Actor
from operators.instruments import move, set_status
from orders.models import Instrument

DRAIN_MARGIN_SECONDS = 0.5


class MoveError(Exception):
    """The move can't go on; the message says why, what was done, and what to do."""


class Move:
    """One instrument's way to another partition."""

    def __init__(
        self,
        instrument: Instrument,
        partition: int,
        *,
        actor: Actor,
        note: str,
        without_workers: bool,
        tell: Callable[[str], object],
    ) -> None:
        self._instrument = instrument
        self._old, self._new = instrument.partition, partition
        self._actor = actor
        self._note = note
        self._without_workers = without_workers
        self._tell = tell

    def run(self, *, halt: bool, resume: bool) -> None:
        """Raises MoveError, InstrumentError, DatabaseError."""
        if self._old == self._new:
            self._tell(f"{self._symbol}: in partition {self._new} already")
        else:
            self._check_workers()
            self._halt(halt)
            self._drain()
            self._move()
        self._confirm_loaded()
        if resume:
            self._set_status(Instrument.Status.ACTIVE)
            announce_now([self._new])
            self._tell(f"{self._symbol}: active")
        else:
            self._tell(f"Let it take orders with: manage.py resume {self._symbol}")

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
        self._tell(f"{self._symbol}: halted")
        self._await_worker()

    def _drain(self) -> None:
        time.sleep(
            settings.INSTRUMENT_CACHE_SECONDS + settings.INSTRUMENT_REFRESH_SECONDS + DRAIN_MARGIN_SECONDS
        )
        self._await_worker()
        self._tell(f"{self._symbol}: drained, partition {self._old} has no commands of it")

    def _await_worker(self) -> None:
        """Returns once the old worker has done everything that was in its stream, and knows the halt."""
        untold = announce_now([self._old])
        if untold and not self._without_workers:
            raise MoveError(
                f"{self._symbol} is halted, but the worker of partition {self._old} does not confirm it: "
                f"{untold[self._old]} Run this again when it does, or use --without-workers."
            )

    def _move(self) -> None:
        move(self._instrument, self._new, self._actor, unused_only=False, note=self._note)
        self._tell(f"{self._symbol}: moved from partition {self._old} to {self._new}")
        untold = announce_now([self._old, self._new])
        for partition, reason in untold.items():
            self._tell(f"The worker of partition {partition} could not be told: {reason}")
        partitions.forget_mirror(self._old, self._symbol)

    def _confirm_loaded(self) -> None:
        """The worker loads the book before its next command, which is this question."""
        try:
            state = inspect(self._new).get(self._symbol)
        except (Unavailable, OutcomeUnknown, RedisError) as error:
            if self._without_workers:
                return
            raise MoveError(f"Partition {self._new} does not say yet that it has the book: {error}") from None
        if state is None:
            raise MoveError(
                f"The worker of partition {self._new} has no book of {self._symbol} yet. Look again."
            )
        self._tell(f"{self._symbol}: partition {self._new} has its book, at sequence {state.sequence}")

    def _set_status(self, status: Instrument.Status) -> None:
        set_status([self._symbol], status, self._actor, note=self._note)
        self._instrument.status = status
