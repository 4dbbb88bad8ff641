"""Admission: one round trip that checks rate limit, queue and worker, and appends what passes to the stream."""

import math
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from redis.asyncio import Redis

from orders import messages

_SCRIPT = (Path(__file__).parent / "admission.lua").read_text()
_INTEGERS_PER_COMMAND = 3


class Verdict(IntEnum):
    """What became of a command; the numbers are the script's."""

    TAKEN = 0
    RATE_LIMITED = 1
    QUEUE_FULL = 2
    NOBODY_MATCHING = 3
    REFUSED = 4


class Admission(NamedTuple):
    """The script's answer to one command, with the client's allowance."""

    verdict: Verdict
    remaining: int
    reset_milliseconds: int

    @property
    def reset_seconds(self) -> int:
        return math.ceil(self.reset_milliseconds / 1000)

    def headers(self) -> dict[str, str]:
        """RateLimit-* of an answer (draft-ietf-httpapi-ratelimit-headers-05); none where the limit is off."""
        if settings.RATE_LIMIT is None:
            return {}
        return {
            "RateLimit-Limit": str(settings.RATE_LIMIT[0]),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class AdmissionScript:
    """The script on one connection pool."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)

    async def admit(self, partition: int, commands: Sequence[tuple[str | None, bytes]]) -> list[Admission]:
        """Admit (client_id or None, encoded command) pairs, in this order. Raises redis.RedisError."""
        requests, seconds = settings.RATE_LIMIT or (0, 0)
        stream = messages.stream_key(partition)
        keys = [stream, messages.heartbeat_key(partition)]
        keys += [
            stream if client_id is None else messages.rate_key(partition, client_id)
            for client_id, _ in commands
        ]
        arguments: list[int | bytes] = [settings.ORDER_QUEUE_LENGTH_MAX, requests, seconds * 1000]
        arguments += [payload for _, payload in commands]
        answer = await self._script(keys=keys, args=arguments)
        return [
            Admission(Verdict(answer[i]), answer[i + 1], answer[i + 2])
            for i in range(0, len(answer), _INTEGERS_PER_COMMAND)
        ]
