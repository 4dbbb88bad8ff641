"""Whether the exchange is well, as its users find out."""

import asyncio
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec

from chaos.told import Told
from loadtools.connection import Caller
from loadtools.wire import Target, encode_get

POLL_SECONDS = 0.02
CONNECT_SECONDS_MAX = 2.0
ANSWER_SECONDS_MAX = 5.0
RECOVERY_SECONDS_MAX = 60.0

HEALTHY = "healthy"

decode_json = msgspec.json.Decoder(float_hook=Decimal).decode


class NotRecovered(RuntimeError):
    """The exchange is not well, although nothing is wrong any more."""


class Probe:
    """Asks over a connection of its own; also a context manager."""

    def __init__(self, target: Target, told: Told) -> None:
        self._target = target
        self._told = told
        self._caller = Caller(
            target, connect_timeout_seconds=CONNECT_SECONDS_MAX, answer_timeout_seconds=ANSWER_SECONDS_MAX
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._caller.close()

    async def recovered(self) -> None:
        """Return once it is healthy and an order that was sent after that is acknowledged. Raises NotRecovered."""
        await self.healthy()
        moment = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                await self._told.acknowledgement_of_what_is_sent_after(moment)
        except TimeoutError:
            raise NotRecovered(
                f"healthy, but no order acknowledged in {RECOVERY_SECONDS_MAX:.0f} s"
            ) from None

    async def healthy(self) -> None:
        """Return once GET /healthz is 200. Raises NotRecovered."""
        told = "nothing"
        try:
            async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                while True:
                    told = await self._health()
                    if told == HEALTHY:
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise NotRecovered(f"not healthy within {RECOVERY_SECONDS_MAX:.0f} s: {told}") from None

    async def get(self, path: str) -> Any:
        """The JSON of a GET. Raises ConnectionError, TimeoutError."""
        response = await self._caller.call(encode_get(self._target, path))
        if response.status != 200:
            raise ConnectionError(f"GET {path}: {response.status} {response.body[:300]!r}")
        return decode_json(response.body)

    async def _health(self) -> str:
        """HEALTHY, or what is wrong."""
        try:
            await self.get("/healthz")
        except (ConnectionError, TimeoutError) as error:
            return str(error) or "no answer in time"
        return HEALTHY
