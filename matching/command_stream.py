"""The worker's end of a partition's stream.

The position in the checkpoint is the authority; the stream only has to give what lies behind it. Ids of a
Redis stream never go back while Redis lives; `align` sees to it that they do not after it was lost either.
"""

import math
from typing import Any

import msgspec
from redis.asyncio import Redis

from base.redis import Command, RedisSession
from matching.scripts import read_script
from orders import messages

DEAD_LETTERS_MAX = 1_000
START = "0-0"

APPEND = read_script("append")


class Entry(msgspec.Struct, frozen=True):
    """One stream entry; `payload` is None where it has no command field."""

    entry_id: str
    payload: bytes | None


class CommandStream:
    """Reads commands in the order of their arrival. Every method raises redis.RedisError."""

    def __init__(self, redis: Redis, session: RedisSession, partition: int) -> None:
        self._redis = redis
        self._session = session
        self._key = messages.stream_key(partition)
        self._append = redis.register_script(APPEND)
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
            await self._append(keys=[self._key], args=[position, b"aligned", b""])
        await self.trim(position)

    async def _last_generated_id(self) -> str:
        if not await self._redis.exists(self._key):
            return START
        information = await self._redis.xinfo_stream(self._key)
        last_id: bytes = information["last-generated-id"]
        return last_id.decode()

    async def read(self, position: str, *, count: int, wait_seconds: float) -> list[Entry]:
        """Up to `count` entries behind the position; waits for the first one as long as told, 0 and less: not."""
        (answer,) = await self._session.run(
            self.read_command(position, count=count, wait_seconds=wait_seconds)
        )
        return entries_of(answer)

    def read_command(self, position: str, *, count: int, wait_seconds: float = 0.0) -> Command:
        """The same as a part of what someone else runs; `entries_of` its answer."""
        milliseconds = math.ceil(wait_seconds * 1000)
        block = ("BLOCK", milliseconds) if milliseconds > 0 else ()  # 0 would be: for ever
        return ("XREAD", "COUNT", count, *block, "STREAMS", self._key, position)

    async def trim(self, position: str) -> None:
        """Drop everything up to the position."""
        await self._session.run(self.trim_command(position))

    def trim_command(self, position: str) -> Command:
        """The same as a part of what someone else runs."""
        milliseconds, number = position.split("-")
        return ("XTRIM", self._key, "MINID", f"{milliseconds}-{int(number) + 1}")

    async def set_aside(self, entry: Entry, reason: str) -> None:
        """Keep an entry that is no command for the operator, in a stream of bounded length."""
        fields = (b"id", entry.entry_id, b"payload", entry.payload or b"", b"reason", reason)
        await self._append(keys=[self._dead_letters_key], args=["MAXLEN", DEAD_LETTERS_MAX, "*", *fields])

    async def length(self) -> int:
        """How many commands wait."""
        length: int = await self._redis.xlen(self._key)
        return length

    async def aclose(self) -> None:
        await self._session.disconnect()


def entries_of(answer: Any) -> list[Entry]:
    """The one stream's entries of XREAD's answer, in either version of the protocol."""
    if not answer:
        return []
    if isinstance(answer, dict):
        (entries,) = answer.values()
    else:
        ((_, entries),) = answer
    return [Entry(entry_id.decode(), _payload(fields)) for entry_id, fields in entries]


def _payload(fields: list[bytes]) -> bytes | None:
    """Names and values come by turns."""
    return next(
        (
            value
            for name, value in zip(fields[::2], fields[1::2], strict=True)
            if name == messages.COMMAND_FIELD
        ),
        None,
    )


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)
