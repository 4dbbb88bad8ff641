"""Admission: one round trip that checks rate limit, queue and worker, and appends what passes to the stream."""

import hashlib
import math
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import msgspec
from django.conf import settings
from redis.asyncio import Redis

from orders import messages
from rest.redis import RedisSession

_SCRIPT = (Path(__file__).parent / "admission.lua").read_text()
_SHA1 = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # how EVALSHA names it
_INTEGERS_PER_COMMAND = 3


class Verdict(IntEnum):
    """What became of a command; the numbers are the script's."""

    TAKEN = 0
    RATE_LIMITED = 1
    QUEUE_FULL = 2
    NOBODY_MATCHING = 3
    REFUSED = 4


_VERDICTS = list(Verdict)


class Admission(msgspec.Struct, frozen=True):
    """The script's answer to one command, with the client's allowance; `limit` is None where there is none."""

    verdict: Verdict
    limit: int | None = None
    remaining: int = 0
    reset_milliseconds: int = 0

    @property
    def reset_seconds(self) -> int:
        return math.ceil(self.reset_milliseconds / 1000)

    def headers(self) -> dict[str, str]:
        """RateLimit-* of an answer (draft-ietf-httpapi-ratelimit-headers-05); none where no limit was asked."""
        if self.limit is None or self.verdict not in (Verdict.TAKEN, Verdict.RATE_LIMITED):
            return {}
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class AdmissionScript:
    """The script of one partition, on a connection of its own: one round trip at a time."""

    def __init__(self, redis: Redis, partition: int) -> None:
        self._session = RedisSession(redis)
        self._partition = partition
        self._stream = messages.stream_key(partition)
        self._heartbeat = messages.heartbeat_key(partition)

    async def connect(self) -> None:
        """Raises redis.RedisError, OSError where the server cannot be reached."""
        if not self._session.is_connected:
            await self._session.connect()
            await self._session.run(("SCRIPT", "LOAD", _SCRIPT))

    async def disconnect(self) -> None:
        await self._session.disconnect()

    async def admit(self, commands: Sequence[tuple[str | None, bytes]]) -> list[Admission]:
        """Admit (client_id or None, encoded command) pairs, in this order.

        Raises redis.RedisError; whether the commands were appended is unknown then.
        """
        requests, seconds = settings.RATE_LIMIT or (0, 0)
        keys = [self._stream, self._heartbeat]
        keys += [
            self._stream if client_id is None else messages.rate_key(self._partition, client_id)
            for client_id, _ in commands
        ]
        payloads = [payload for _, payload in commands]
        limits = (settings.ORDER_QUEUE_LENGTH_MAX, requests, seconds * 1000)
        (answer,) = await self._session.run(("EVALSHA", _SHA1, len(keys), *keys, *limits, *payloads))
        return [
            Admission(_VERDICTS[answer[i]], requests or None, answer[i + 1], answer[i + 2])
            for i in range(0, len(answer), _INTEGERS_PER_COMMAND)
        ]
