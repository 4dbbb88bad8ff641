"""The worker's end of a partition's stream.

The position in the checkpoint is the authority; the stream only has to give what lies behind it. Ids of a
Redis stream never go back while Redis lives; `align` sees to it that they do not after it was lost either.
"""

import math
from typing import NamedTuple

from redis.asyncio import Redis

from orders import messages

DEAD_LETTERS_MAX = 1_000
START = "0-0"


class Entry(NamedTuple):
    """One stream entry; `payload` is None where it has no command field."""

    entry_id: str
    payload: bytes | None


class CommandStream:
    """Reads commands in the order of their arrival. Every method raises redis.RedisError."""

    def __init__(self, redis: Redis, partition: int) -> None:
        self._redis = redis
        self._key = messages.stream_key(partition)
        self._dead_letters_key = messages.dead_letters_key(partition)

    async def align(self, position: str) -> None:
        """Make sure that new ids come after the position, and drop entries that are done.

        A Redis that came back empty, or with an older stream, would otherwise give out ids that lie before the
        position where its clock went back, and commands with such ids would never be read.
        """
        if position == START:
            return
        last_id = await self._last_generated_id()
        if _order(last_id) < _order(position):
            await self._redis.xadd(self._key, {b"aligned": b""}, id=position)
        await self.trim(position)

    async def _last_generated_id(self) -> str:
        if not await self._redis.exists(self._key):
            return START
        information = await self._redis.xinfo_stream(self._key)
        last_id: bytes = information["last-generated-id"]
        return last_id.decode()

    async def read(self, position: str, *, count: int, wait_seconds: float) -> list[Entry]:
        """Up to `count` entries behind the position; waits for the first one as long as told, 0 and less: not."""
        milliseconds = math.ceil(wait_seconds * 1000)
        block = milliseconds if milliseconds > 0 else None  # 0 would be: for ever
        answer = await self._redis.xread({self._key: position}, count=count, block=block)
        entries = _entries(answer)
        return [Entry(entry_id.decode(), fields.get(messages.COMMAND_FIELD)) for entry_id, fields in entries]

    async def trim(self, position: str, pipeline: Redis | None = None) -> None:
        """Drop everything up to the position; where a pipeline is given, as a part of it."""
        milliseconds, number = position.split("-")
        await (pipeline or self._redis).xtrim(
            self._key, minid=f"{milliseconds}-{int(number) + 1}", approximate=False
        )

    async def set_aside(self, entry: Entry, reason: str) -> None:
        """Keep an entry that is no command for the operator, in a stream of bounded length."""
        await self._redis.xadd(
            self._dead_letters_key,
            {b"id": entry.entry_id, b"payload": entry.payload or b"", b"reason": reason},
            maxlen=DEAD_LETTERS_MAX,
            approximate=False,
        )

    async def length(self) -> int:
        """How many commands wait."""
        length: int = await self._redis.xlen(self._key)
        return length


def _entries(answer: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The one stream's entries of XREAD's answer, in either version of the protocol."""
    if not answer:
        return []
    if isinstance(answer, dict):
        ((entries,),) = answer.values()
        return list(entries)
    ((_, entries),) = answer  # type: ignore[misc]
    return list(entries)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)
