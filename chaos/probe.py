"""Checks the exchange's health as a client does."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec

from chaos.client_log import ClientLog
from loadtools.connection import Caller
from loadtools.wire import Target, encode_get

_POLL_SECONDS = 0.02
_CONNECT_SECONDS_MAX = 2.0
_ANSWER_SECONDS_MAX = 5.0
RECOVERY_SECONDS_MAX = 60.0

_HEALTHY = "healthy"

decode_json = msgspec.json.Decoder(float_hook=Decimal).decode


class NotRecovered(RuntimeError):
    """The exchange is not healthy although the fault has ended."""


class Probe:
    """Sends requests on its own connection."""

    def __init__(self, target: Target, client_log: ClientLog) -> None:
        self._target = target
        self._client_log = client_log
        self._caller = Caller(
            target, connect_timeout_seconds=_CONNECT_SECONDS_MAX, answer_timeout_seconds=_ANSWER_SECONDS_MAX
        )

    def close(self) -> None:
        self._caller.close()

    async def recovered(self) -> None:
        """Return once the exchange is healthy and has acknowledged an order sent after that.

        Raises NotRecovered.
        """
        await self.healthy()
        moment = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                await self._client_log.wait_for_acknowledgement(moment)
        except TimeoutError:
            raise NotRecovered(
                f"healthy, but no order acknowledged in {RECOVERY_SECONDS_MAX:.0f} s"
            ) from None

    async def healthy(self) -> None:
        """Return once GET /healthz is 200. Raises NotRecovered."""
        problem = "no answer"
        try:
            async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                while True:
                    problem = await self._health()
                    if problem == _HEALTHY:
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise NotRecovered(f"not healthy within {RECOVERY_SECONDS_MAX:.0f} s: {problem}") from None

    async def get(self, path: str) -> Any:
        """Send a GET and return its JSON. Raises ConnectionError, TimeoutError."""
        response = await self._caller.call(encode_get(self._target, path))
        if response.status != 200:
            raise ConnectionError(f"GET {path}: {response.status} {response.body[:300]!r}")
        return decode_json(response.body)

    async def _health(self) -> str:
        """Return _HEALTHY, or the problem."""
        try:
            await self.get("/healthz")
        except (ConnectionError, TimeoutError) as error:
            return str(error) or "no answer in time"
        return _HEALTHY
