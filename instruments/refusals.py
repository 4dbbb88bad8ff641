"""Refusals that name an instrument, in addition to the general ones in base/refusals.py."""

from base.refusals import NotFound, Refusal, RefusalKind


class InstrumentNotFound(NotFound):
    code = "instrument_not_found"
    default_message = "No instrument has this symbol. GET /instruments lists them."


class InstrumentHalted(Refusal):
    kind = RefusalKind.CONFLICT
    code = "instrument_halted"
    default_message = "Trading in this instrument is halted. Cancels are still processed."
