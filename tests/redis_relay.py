"""A relay in front of Redis that can fall silent or hold data, as a host or a network may do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.conf import settings
from redis.asyncio import Redis

from tests.environment import free_port


class RedisRelay:
    """Forwards data in both directions. After `cut` connections stay open, but no data arrives.

    Between `hold` and `release` data is kept on its way, even if its connection is closed.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._redis = Redis.from_url(settings.REDIS_URL).connection_pool.connection_kwargs
        self._open = asyncio.Event()
        self._open.set()
        self._forwarders: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        password = self._redis.get("password")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        for forwarder in self._forwarders:
            forwarder.cancel()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = self._redis
        server_reader, server_writer = await (
            asyncio.open_unix_connection(address["path"])
            if "path" in address
            else asyncio.open_connection(address["host"], address["port"])
        )
        for source, target in ((reader, server_writer), (server_reader, writer)):
            self._forwarders.add(asyncio.create_task(self._forward(source, target)))

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._open.wait()
            target.write(data)
            await target.drain()
