"""The worker's side of a partition's command stream.

The position in the checkpoint is the authority. The stream only has to return the entries after it.
Entry ids of a Redis stream never go back while Redis runs. `align` makes sure that they do not go
back even if Redis loses its data.
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
    """One stream entry. `payload` is None if the entry has no command field."""

    entry_id: str
    payload: bytes | None


class CommandStream:
    """Reads commands in the order of their arrival. Every method raises redis.RedisError."""

    def __init__(self, redis: Redis, session: RedisSession, partition: int) -> None:
        self._redis = redis
        self.session = session  # for one round trip at a time
        self._key = messages.stream_key(partition)
        self._append = redis.register_script(APPEND)
        self._dead_letters_key = messages.dead_letters_key(partition)

    async def align(self, position: str) -> None:
        """Make sure that new entry ids come after the position, and drop committed entries.

        Redis may come back empty or with an older stream. If its clock also goes back, it creates
        ids before the position, and commands with such ids are never read.
        """
        if position == START:
            return
        last_id = await self._last_generated_id()
        if _id_numbers(last_id) < _id_numbers(position):
            await self._append(keys=[self._key], args=[position, b"aligned", b""])
        await self.trim(position)

    async def _last_generated_id(self) -> str:
        if not await self._redis.exists(self._key):
            return START
        information = await self._redis.xinfo_stream(self._key)
        last_id: bytes = information["last-generated-id"]
        return last_id.decode()

    async def read(self, position: str, *, count: int, wait_seconds: float) -> list[Entry]:
        """Return up to `count` entries after the position.

        Waits up to `wait_seconds` for the first entry, and not at all if that is 0 or less.
        """
        (answer,) = await self.session.run(
            self.read_command(position, count=count, wait_seconds=wait_seconds)
        )
        return entries_of(answer)

    def read_command(self, position: str, *, count: int, wait_seconds: float = 0.0) -> Command:
        """Return the Redis command of `read`. `entries_of` decodes its answer."""
        milliseconds = math.ceil(wait_seconds * 1000)
        block = ("BLOCK", milliseconds) if milliseconds > 0 else ()  # BLOCK 0 would wait for ever
        return ("XREAD", "COUNT", count, *block, "STREAMS", self._key, position)

    async def trim(self, position: str) -> None:
        """Drop all entries up to the position."""
        await self.session.run(self.trim_command(position))

    def trim_command(self, position: str) -> Command:
        """Return the Redis command of `trim`."""
        milliseconds, number = position.split("-")
        return ("XTRIM", self._key, "MINID", f"{milliseconds}-{int(number) + 1}")

    async def set_aside(self, entry: Entry, reason: str) -> None:
        """Keep an invalid entry for operators, in a stream of at most DEAD_LETTERS_MAX entries."""
        fields = (b"id", entry.entry_id, b"payload", entry.payload or b"", b"reason", reason)
        await self._append(keys=[self._dead_letters_key], args=["MAXLEN", DEAD_LETTERS_MAX, "*", *fields])

    async def length(self) -> int:
        """Return the number of entries in the stream."""
        length: int = await self._redis.xlen(self._key)
        return length

    async def aclose(self) -> None:
        await self.session.disconnect()


def entries_of(answer: Any) -> list[Entry]:
    """Decode the answer of XREAD for one stream, in RESP2 or RESP3."""
    if not answer:
        return []
    if isinstance(answer, dict):
        (entries,) = answer.values()
    else:
        ((_, entries),) = answer
    return [Entry(entry_id.decode(), _payload(fields)) for entry_id, fields in entries]


def _payload(fields: list[bytes]) -> bytes | None:
    """Return the command field. `fields` has names and values alternately."""
    return next(
        (
            value
            for name, value in zip(fields[::2], fields[1::2], strict=True)
            if name == messages.COMMAND_FIELD
        ),
        None,
    )


def _id_numbers(entry_id: str) -> tuple[int, int]:
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)
