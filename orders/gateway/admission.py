"""Admission of commands to the stream of a partition.

One round trip checks the rate limit, the queue and the worker, and appends the admitted commands.
"""

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
    sha1: str  # identifies the script in EVALSHA


def _make_script(text: str) -> _Script:
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_TEXT = (Path(__file__).parent / "admission.lua").read_text()
_ADMIT = _make_script(_TEXT)
# The same script for a server that has reached its `maxmemory`. Cancels must still be appended,
# because they free memory. The maximum length of the stream limits the number of commands, and
# RATE_LIMIT_KEYS_MAX limits the number of rate limit keys.
_ADMIT_WHEN_FULL = _make_script("#!lua flags=allow-oom\n" + _TEXT)
_INTEGERS_PER_COMMAND = 3

# The kinds of commands. The script uses the same letters.
ORDER = "o"
OTHER = "c"  # a cancel or an operator's command; may still pass when the queue is full for orders
COUNT_ORDER = "O"  # counts as an order, but appends nothing
COUNT_CANCEL = "C"  # counts as a cancel, but appends nothing
COUNTS_ONLY = (COUNT_ORDER, COUNT_CANCEL)
AS_ORDERS = (ORDER, COUNT_ORDER)  # these share the places of orders; other kinds have their own


class Verdict(IntEnum):
    """The result of a command's admission. The script uses the same numbers."""

    TAKEN = 0
    RATE_LIMITED = 1
    QUEUE_FULL = 2
    NOBODY_MATCHING = 3
    REFUSED = 4


_VERDICTS = list(Verdict)


class Applicant(msgspec.Struct, frozen=True, gc=False):
    """A command that asks for admission.

    `rate_key` is the key of its rate limit, or None if it counts against no limit.
    """

    kind: str
    rate_key: str | None
    payload: bytes


class Admission(msgspec.Struct, frozen=True):
    """The script's answer for one command. `limit` is None if there is no rate limit."""

    verdict: Verdict
    limit: int | None = None
    remaining: int = 0
    reset_milliseconds: int = 0

    @property
    def allowance(self) -> Allowance | None:
        """The client's allowance, or None if no limit was checked."""
        if self.limit is None or self.verdict not in (Verdict.TAKEN, Verdict.RATE_LIMITED):
            return None
        return Allowance(self.limit, self.remaining, math.ceil(self.reset_milliseconds / 1000))


class AdmissionScript:
    """The script for one partition, on a separate connection. Allows one round trip at a time."""

    def __init__(self, redis: Redis, partition: int) -> None:
        self._session = RedisSession(redis)
        self._stream = messages.stream_key(partition)
        self._heartbeat = messages.heartbeat_key(partition)

    async def connect(self) -> None:
        """Connect and load the scripts.

        Raises redis.RedisError, OSError if the server cannot be reached.
        """
        if not self._session.is_connected:
            await self._session.connect()
            scripts = (_ADMIT, _ADMIT_WHEN_FULL)
            await self._session.run(*(("SCRIPT", "LOAD", script.text) for script in scripts))

    async def disconnect(self) -> None:
        await self._session.disconnect()

    async def admit(self, applicants: Sequence[Applicant]) -> list[Admission]:
        """Admit commands, in the given order.

        If the server refuses the appends because its memory is full, all commands except orders are
        tried once more without the limit on memory. The server refuses either all appends or none,
        so the order of the commands does not change.

        Raises redis.RedisError; it is then unknown whether the commands were appended.
        """
        admissions = await self._run_script(_ADMIT, applicants)
        refused = [
            number
            for number, admission in enumerate(admissions)
            if admission.verdict is Verdict.REFUSED and applicants[number].kind == OTHER
        ]
        if not refused:
            return admissions
        try:
            forced = await self._run_script(_ADMIT_WHEN_FULL, [applicants[number] for number in refused])
        except ResponseError:
            # Nothing was appended: the server can't write at all, for example because it is a
            # replica.
            return admissions
        for number, admission in zip(refused, forced, strict=True):
            admissions[number] = admission
        return admissions

    async def _run_script(self, script: _Script, applicants: Sequence[Applicant]) -> list[Admission]:
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
