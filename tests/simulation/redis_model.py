"""A model of Redis: one stream, keys that expire, published messages. Also redis-py, in steps."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from tests.simulation.process import Process
from tests.simulation.redis_scripts import SCRIPTS

EPOCH_MILLISECONDS = 1_700_000_000_000
RESUBSCRIBE_SECONDS = 0.2
GROUPS = "groups"  # one channel for all groups of Channels

EntryId = tuple[int, int]


def entry_id(text: str | bytes) -> EntryId:
    milliseconds, number = (text.decode() if isinstance(text, bytes) else text).split("-")
    return int(milliseconds), int(number)


def id_text(identifier: EntryId) -> bytes:
    return b"%d-%d" % identifier


class Server:
    """Redis's data and its subscribers. `restart` ends all connections."""

    def __init__(self, on_group_message: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.on_group_message = on_group_message  # receives the messages to all groups of Channels
        self.up = True
        self.generation = 0
        self.clock_offset_milliseconds = 0
        self.full = False  # of memory
        self.sequences: dict[str, int] = {}  # of mirrors that were written since the last start
        self.went_back = False  # whether an older book has ever replaced such a mirror
        self.entries: list[tuple[EntryId, dict[bytes, bytes]]] = []
        self.last_id: EntryId = (0, 0)
        self.exists = False
        self.values: dict[str, tuple[Any, float | None]] = {}  # each with its time of expiry
        self.sets: dict[str, dict[str, int]] = {}
        self.listeners: dict[str, Callable[[bytes], None]] = {}
        self.dead_letters: list[dict[bytes, bytes]] = []
        self._arrived: asyncio.Event = asyncio.Event()

    def save(self) -> dict[str, Any]:
        """Return the data that a snapshot on disk would hold."""
        names = ("entries", "last_id", "exists", "values", "sets")
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def restart(self, saved: dict[str, Any] | None = None) -> None:
        """Come back empty, or with data that was saved earlier."""
        self.generation += 1
        self.entries, self.last_id, self.exists, self.values, self.sets = [], (0, 0), False, {}, {}
        self.listeners, self.sequences = {}, {}
        for name, value in (saved or {}).items():
            setattr(self, name, copy.deepcopy(value))
        self._arrived.set()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def get(self, key: str) -> Any:
        value, expires_at = self.values.get(key, (None, None))
        return None if expires_at is not None and expires_at <= self.now() else value

    def put(self, key: str, value: Any, px: int | None = None) -> None:
        if key.endswith(":sequence"):
            self.went_back |= value < self.sequences.get(key, 0)
            self.sequences[key] = value
        expires_at = None if px is None else self.now() + px / 1000
        self.values[key] = (str(value).encode(), expires_at)

    def remove(self, *keys: str) -> None:
        for key in keys:
            self.sets.pop(key, None)
            self.values.pop(key, None)

    def append_as(self, identifier: str, fields: dict[bytes, bytes]) -> bytes:
        return self.append(fields, entry_id(identifier))

    def append(self, fields: dict[bytes, bytes], identifier: EntryId | None = None) -> bytes:
        if identifier is None:
            milliseconds = EPOCH_MILLISECONDS + int(self.now() * 1000) + self.clock_offset_milliseconds
            last_milliseconds, number = self.last_id
            identifier = (
                (milliseconds, 0) if milliseconds > last_milliseconds else (last_milliseconds, number + 1)
            )
        self.last_id = identifier
        self.exists = True
        self.entries.append((identifier, fields))
        self._arrived.set()
        return id_text(identifier)

    async def wait_for_entry(self, seconds: float) -> None:
        """Return when an entry was appended, or after `seconds`."""
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass

    def publish(self, channel: str, data: Any) -> int:
        if channel == GROUPS and self.on_group_message is not None:
            self.on_group_message(data)
        listener = self.listeners.get(channel)
        if listener is None:
            return 0
        listener(data)
        return 1


class Client:
    """The methods of redis-py that the worker uses, in steps."""

    def __init__(self, process: Process, server: Server) -> None:
        self.process = process
        self.server = server

    async def call(self, work: Callable[[], Any]) -> Any:
        """Run `work`, and return its result.

        Raises redis.ConnectionError. As with a real server, the work may have been done nevertheless.
        """
        await self.process.step()
        if not self.server.up:
            raise RedisConnectionError("the server is away")
        generation = self.server.generation
        result = work()
        await self.process.step()
        if self.server.generation != generation or not self.server.up:
            raise RedisConnectionError("the connection was lost")
        return result

    async def exists(self, key: str) -> int:
        return int(await self.call(lambda: self.server.exists))

    async def xinfo_stream(self, key: str) -> dict[str, bytes]:
        return {"last-generated-id": await self.call(lambda: id_text(self.server.last_id))}

    async def xadd(self, key: str, fields: Any, id: str | None = None, **options: Any) -> Any:  # noqa: A002
        if "dead" in key:
            return await self.call(lambda: self.server.dead_letters.append(fields))
        return await self.call(lambda: self.server.append(fields, entry_id(id) if id else None))

    async def xlen(self, key: str) -> int:
        return int(await self.call(lambda: len(self.server.entries)))

    def trim(self, minid: str) -> None:
        self.server.entries = [entry for entry in self.server.entries if entry[0] >= entry_id(minid)]

    async def get(self, key: str) -> Any:
        return await self.call(lambda: self.server.get(key))

    async def mget(self, *keys: str) -> list[Any]:
        return list(await self.call(lambda: [self.server.get(key) for key in keys]))

    async def set(self, key: str, value: Any, px: int | None = None) -> Any:
        return await self.call(lambda: self.server.put(key, value, px))

    async def delete(self, *keys: str) -> Any:
        return await self.call(lambda: self.server.remove(*keys))

    def register_script(self, text: str) -> "Script":
        return Script(self, text)

    async def script_load(self, text: str) -> Any:
        return await self.call(lambda: None)

    async def aclose(self) -> None:
        """Do nothing: the model has no connection to close."""


class Script:
    """A script of redis-py, which does what `SCRIPTS` has for its text. Its hash is its text."""

    def __init__(self, client: Client, text: str) -> None:
        self._client = client
        self._text = text
        self.sha = text

    async def __call__(self, keys: list[str], args: list[Any]) -> Any:
        work = SCRIPTS[self._text]
        return await self._client.call(lambda: work(self._client.server, keys, args))
