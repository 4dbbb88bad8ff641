"""Clients of /stream that keep their own order books and check them with the checksums.

They connect again after each lost connection.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from chaos.breaches import Kind
from chaos.client_log import ClientLog
from chaos.journal import Printed
from chaos.orders import MIDDLE_PRICES
from chaos.probe import Probe, decode_json
from loadtools.local_book import LocalBook, LocalBookError
from loadtools.tasks import run_beside
from loadtools.wire import Target

SUBSCRIBERS = 2
SUBSCRIBERS_MAX = 100
_RECONNECT_SECONDS = 0.2
_OPEN_SECONDS_MAX = 5.0
# Time in which local books must equal the exchange's once trading has ended.
_AGREE_SECONDS_MAX = 30.0
_AGREE_POLL_SECONDS = 0.1
_LEVELS_MAX = 1_000  # The limit of GET /orderbook.


class Subscriber:
    """Follows books and trades of the traffic's instruments."""

    def __init__(self, target: Target, client_log: ClientLog) -> None:
        self.books: dict[str, LocalBook] = {}  # Books without a gap since their snapshot.
        self._url = f"ws://{target.authority}/stream"
        self._client_log = client_log

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with connect(
                    self._url, max_size=None, compression=None, open_timeout=_OPEN_SECONDS_MAX
                ) as connection:
                    self._client_log.counts["stream connections"] += 1
                    await self._follow(connection)
            self.books.clear()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow(self, connection: ClientConnection) -> None:
        """Handle messages until the connection ends or the subscription is refused."""
        newest: dict[str, int] = {}  # Latest sequence on this connection, by symbol.
        await self._subscribe(connection, list(MIDDLE_PRICES))
        async for text in connection:
            message = decode_json(text)
            match message["type"]:
                case "orderbook_snapshot":
                    self._check_sequence(message, newest)
                    self._start_book(message)
                case "orderbook_delta":
                    self._check_sequence(message, newest)
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
        except LocalBookError as error:
            self._client_log.breaches.add(Kind.STREAM, f"{snapshot['instrument']}: snapshot: {error}")
        self._client_log.counts["checksums"] += 1

    def _apply_delta(self, delta: Any) -> bool:
        """Apply a delta. Return False if it does not continue the local book.

        Without a local book, return True and wait for the snapshot, which starts one.
        """
        book = self.books.get(delta["instrument"])
        if book is None:
            return True
        if delta["previous_sequence"] != book.sequence:
            del self.books[delta["instrument"]]
            return False
        try:
            book.apply(delta)
        except LocalBookError as error:
            self._client_log.breaches.add(Kind.STREAM, f"{delta['instrument']}: delta: {error}")
        self._client_log.counts["checksums"] += 1
        return True

    def _check_sequence(self, message: Any, newest: dict[str, int]) -> None:
        symbol, sequence = message["instrument"], message["sequence"]
        if sequence < newest.get(symbol, 0):
            self._client_log.breaches.add(
                Kind.STREAM, f"{symbol} went back from sequence {newest[symbol]} to {sequence}"
            )
        newest[symbol] = sequence


@contextlib.asynccontextmanager
async def subscribe(target: Target, client_log: ClientLog, count: int) -> AsyncIterator[Sequence[Subscriber]]:
    """Run `count` subscribers during the block. Raises the exception of a failed one at its end."""
    subscribers = [Subscriber(target, client_log) for _ in range(count)]
    async with run_beside(*(subscriber.run() for subscriber in subscribers)) as tasks:
        yield subscribers
        for task in tasks:
            if task.done():
                task.result()


async def compare_books(subscribers: Sequence[Subscriber], probe: Probe, client_log: ClientLog) -> None:
    """Wait until every local book equals GET /orderbook. If one never does, that is a breach."""
    for symbol in MIDDLE_PRICES:
        for number, subscriber in enumerate(subscribers):
            different = "nothing was compared"
            try:
                async with asyncio.timeout(_AGREE_SECONDS_MAX):
                    while True:
                        different = await _difference(subscriber, symbol, probe)
                        if not different:
                            break
                        await asyncio.sleep(_AGREE_POLL_SECONDS)
            except TimeoutError:
                client_log.breaches.add(Kind.STREAM, f"subscriber {number}, {symbol}: {different}")


async def _difference(subscriber: Subscriber, symbol: str, probe: Probe) -> str:
    """Return the difference between a local book and GET /orderbook, or "" if they are equal."""
    try:
        shown = await probe.get(f"/orderbook?instrument={symbol}&levels={_LEVELS_MAX}")
    except (ConnectionError, TimeoutError) as error:
        return f"GET /orderbook: {error}"
    book = subscriber.books.get(symbol)
    if book is None:
        return "no local book"
    if book.sequence != shown["sequence"]:
        return f"sequence {book.sequence} here, {shown['sequence']} in GET /orderbook"
    if book.levels() != LocalBook(shown).levels():
        return f"other levels at sequence {book.sequence}: {book.levels()}"
    return ""
