"""Clients of /stream that keep their own order books and check them with the checksums.

They connect again after each lost connection.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from chaos.breaches import Kind
from chaos.client_log import ClientLog
from chaos.journal import Printed
from chaos.probe import Probe, decode_json
from loadtools.wire import Target
from tests.contract.stream import LocalBook

LISTENERS = 2
LISTENERS_MAX = 100
RECONNECT_SECONDS = 0.2
OPEN_SECONDS_MAX = 5.0
# Time in which local books must equal the exchange's once trading has ended.
AGREE_SECONDS_MAX = 30.0
AGREE_POLL_SECONDS = 0.1
LEVELS_MAX = 1_000  # The limit of GET /orderbook.


class Listener:
    """Follows books and trades of some instruments."""

    def __init__(self, target: Target, symbols: list[str], client_log: ClientLog) -> None:
        self.books: dict[str, LocalBook] = {}  # Books without a gap since their snapshot.
        self._url = f"ws://{target.authority}/stream"
        self._symbols = symbols
        self._client_log = client_log

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with connect(
                    self._url, max_size=None, compression=None, open_timeout=OPEN_SECONDS_MAX
                ) as connection:
                    self._client_log.counts["stream connections"] += 1
                    await self._follow(connection)
            self.books.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self, connection: ClientConnection) -> None:
        """Handle messages until the connection ends or the subscription is refused."""
        newest: dict[str, int] = {}  # Latest sequence on this connection, by symbol.
        await self._subscribe(connection, self._symbols)
        async for text in connection:
            message = decode_json(text)
            match message["type"]:
                case "orderbook_snapshot":
                    self._check_order(message, newest)
                    self._start_book(message)
                case "orderbook_delta":
                    self._check_order(message, newest)
                    if not self._apply_delta(message):
                        self._client_log.counts["stream gaps"] += 1
                        await self._subscribe(connection, [message["instrument"]])
                case "trade":
                    trade = (UUID(message["trade_id"]), message["price"], message["quantity"])
                    self._client_log.journal.write(Printed(*trade))
                case "error" if message["code"] != "stale":
                    return

    async def _subscribe(self, connection: ClientConnection, symbols: list[str]) -> None:
        request = {"type": "subscribe", "channels": ["orderbook_deltas", "trades"], "instrument": symbols}
        await connection.send(msgspec.json.encode(request).decode())

    def _start_book(self, snapshot: Any) -> None:
        try:
            self.books[snapshot["instrument"]] = LocalBook(snapshot)
        except AssertionError as error:
            self._client_log.breaches.add(Kind.STREAM, f"{snapshot['instrument']}: snapshot: {error}")
        self._client_log.counts["checksums"] += 1

    def _apply_delta(self, delta: Any) -> bool:
        """Apply a delta. Return False if it does not continue the local book.

        If there is no local book, a snapshot will arrive.
        """
        book = self.books.get(delta["instrument"])
        if book is None:
            return True
        if delta["previous_sequence"] != book.sequence:
            del self.books[delta["instrument"]]
            return False
        try:
            book.apply(delta)
        except AssertionError as error:
            self._client_log.breaches.add(Kind.STREAM, f"{delta['instrument']}: delta: {error}")
        self._client_log.counts["checksums"] += 1
        return True

    def _check_order(self, message: Any, newest: dict[str, int]) -> None:
        symbol, sequence = message["instrument"], message["sequence"]
        if sequence < newest.get(symbol, 0):
            self._client_log.breaches.add(
                Kind.STREAM, f"{symbol} went back from sequence {newest[symbol]} to {sequence}"
            )
        newest[symbol] = sequence


class Listeners:
    """Runs `count` listeners during the block."""

    def __init__(self, target: Target, symbols: list[str], client_log: ClientLog, count: int) -> None:
        self._symbols = symbols
        self._client_log = client_log
        self._listeners = [Listener(target, symbols, client_log) for _ in range(count)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(listener.run()) for listener in self._listeners]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def compare(self, probe: Probe) -> None:
        """Wait until every local book equals GET /orderbook. If one never does, that is a breach.

        Raises the exception of a failed listener.
        """
        for symbol in self._symbols:
            for number, listener in enumerate(self._listeners):
                different = "nothing was compared"
                try:
                    async with asyncio.timeout(AGREE_SECONDS_MAX):
                        while True:
                            different = await self._difference(listener, symbol, probe)
                            if not different:
                                break
                            await asyncio.sleep(AGREE_POLL_SECONDS)
                except TimeoutError:
                    self._client_log.breaches.add(Kind.STREAM, f"listener {number}, {symbol}: {different}")
        for task in self._tasks:
            if task.done():
                task.result()

    async def _difference(self, listener: Listener, symbol: str, probe: Probe) -> str:
        """Return the difference between a local book and GET /orderbook, or "" if they are equal."""
        try:
            shown = await probe.get(f"/orderbook?instrument={symbol}&levels={LEVELS_MAX}")
        except (ConnectionError, TimeoutError) as error:
            return f"GET /orderbook: {error}"
        book = listener.books.get(symbol)
        if book is None:
            return "no local book"
        if book.sequence != shown["sequence"]:
            return f"sequence {book.sequence} here, {shown['sequence']} in GET /orderbook"
        if book.levels() != LocalBook(shown).levels():
            return f"other levels at sequence {book.sequence}: {book.levels()}"
        return ""
