"""Admission: one round trip that checks rate limit, queue and worker, and appends what passes to the stream."""

import hashlib
import math
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import msgspec
from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from base.redis import RedisSession
from base.refusals import Allowance
from orders import messages


class _Script(NamedTuple):
    text: str
    sha1: str  # how EVALSHA names it


def _script(text: str) -> _Script:
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_TEXT = (Path(__file__).parent / "admission.lua").read_text()
_ADMIT = _script(_TEXT)
# The same for a server that has reached its `maxmemory`: cancels are what makes it empty again. How many there may
# be is bounded by the length of the stream, and rate limit keys by their number.
_ADMIT_WHEN_FULL = _script("#!lua flags=allow-oom\n" + _TEXT)
_INTEGERS_PER_COMMAND = 3

# The kinds of commands; the letters are the script's.
ORDER = "o"
OTHER = "c"  # a cancel, or an operator's command: passes when orders no longer do
COUNT_ORDER = "O"  # counts as an order, and appends nothing
COUNT_CANCEL = "C"
COUNTS_ONLY = (COUNT_ORDER, COUNT_CANCEL)
AS_ORDERS = (ORDER, COUNT_ORDER)  # what takes places of orders; the rest has places of its own


class Verdict(IntEnum):
    """What became of a command; the numbers are the script's."""

    TAKEN = 0
    RATE_LIMITED = 1
    QUEUE_FULL = 2
    NOBODY_MATCHING = 3
    REFUSED = 4


_VERDICTS = list(Verdict)


class Applicant(msgspec.Struct, frozen=True, gc=False):
    """A command that asks for admission. `rate_key` counts it; None if it counts against nobody."""

    kind: str
    rate_key: str | None
    payload: bytes


class Admission(msgspec.Struct, frozen=True):
    """The script's answer to one command, with the client's allowance; `limit` is None where there is none."""

    verdict: Verdict
    limit: int | None = None
    remaining: int = 0
    reset_milliseconds: int = 0

    @property
    def allowance(self) -> Allowance | None:
        """None if no limit was asked."""
        if self.limit is None or self.verdict not in (Verdict.TAKEN, Verdict.RATE_LIMITED):
            return None
        return Allowance(self.limit, self.remaining, math.ceil(self.reset_milliseconds / 1000))


class AdmissionScript:
    """The script of one partition, on a connection of its own: one round trip at a time."""

    def __init__(self, redis: Redis, partition: int) -> None:
        self._session = RedisSession(redis)
        self._stream = messages.stream_key(partition)
        self._heartbeat = messages.heartbeat_key(partition)

    async def connect(self) -> None:
        """Raises redis.RedisError, OSError where the server cannot be reached."""
        if not self._session.is_connected:
            await self._session.connect()
            scripts = (_ADMIT, _ADMIT_WHEN_FULL)
            await self._session.run(*(("SCRIPT", "LOAD", script.text) for script in scripts))

    async def disconnect(self) -> None:
        await self._session.disconnect()

    async def admit(self, applicants: Sequence[Applicant]) -> list[Admission]:
        """Admit commands, in this order.

        If the server refuses to append, all but orders are tried once more without its bound on memory. It refuses
        all of them or none, so none overtakes another that is taken.

        Raises redis.RedisError; whether the commands were appended is unknown then.
        """
        admissions = await self._admit(_ADMIT, applicants)
        again = [
            number
            for number, admission in enumerate(admissions)
            if admission.verdict is Verdict.REFUSED and applicants[number].kind == OTHER
        ]
        if not again:
            return admissions
        try:
            forced = await self._admit(_ADMIT_WHEN_FULL, [applicants[number] for number in again])
        except ResponseError:
            return admissions  # it can't write at all, for example as a replica: nothing was appended
        for number, admission in zip(again, forced, strict=True):
            admissions[number] = admission
        return admissions

    async def _admit(self, script: _Script, applicants: Sequence[Applicant]) -> list[Admission]:
        requests, seconds = settings.RATE_LIMIT or (0, 0)
        cancels = requests * settings.CANCELS_PER_ORDER
        keys = [self._stream, self._heartbeat]
        keys += [applicant.rate_key or self._stream for applicant in applicants]
        kinds = "".join([applicant.kind for applicant in applicants])
        arguments = (
            kinds,
            settings.ORDER_QUEUE_LENGTH_MAX,
            settings.CANCEL_QUEUE_LENGTH_MAX,
            requests,
            cancels,
            seconds * 1000,
            settings.RATE_LIMIT_KEYS_MAX,
        )
        payloads = [applicant.payload for applicant in applicants]
        (answer,) = await self._session.run(("EVALSHA", script.sha1, len(keys), *keys, *arguments, *payloads))
        return [
            Admission(
                _VERDICTS[answer[i]],
                (requests if kind in AS_ORDERS else cancels) or None,
                answer[i + 1],
                answer[i + 2],
            )
            for i, kind in zip(range(0, len(answer), _INTEGERS_PER_COMMAND), kinds, strict=True)
        ]
