"""Compare the ways to enter orders: `python -m benchmarks.entry`.

Starts an exchange of its own and sends it the mix of benchmarks/http.py, in turns:

- single orders over HTTP: 128 connections, each with one order on its way (sent by wrk);
- batches of 50 orders over HTTP: 8 connections, each with one batch on its way;
- orders on /stream: 8 connections, each with 64 orders on their way.

Then it sends batches and orders on /stream in an open loop, at half of the rate that they reached.
There an order's time runs from the moment at which it was due. Exits with 1 unless every
acknowledged order is in the database. Needs wrk.
"""

import argparse
import asyncio
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

from benchmarks.http import PACKAGES, are_kept, closed_orders, key_prefix, orders
from benchmarks.report import print_chart, print_heading
from loadtools.arguments import whole_number
from loadtools.connection import HttpConnection, connect
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.subscribers import TEXT, UPGRADE
from loadtools.wire import Response, Target, encode_post

SINGLE_CONNECTIONS = 128
CONNECTIONS = 8
BATCH_ORDERS = 50
ON_THE_WAY = 64
SINGLE, BATCHES, STREAM = "single orders", f"batches of {BATCH_ORDERS}", "on /stream"
ANSWERS_SECONDS_MAX = 30.0
TICK_SECONDS = 0.001
"""The open loop looks this often for orders that are due."""

Answered = Callable[["Sender", int, int], None]
"""Called with the connection, the number of a request, and how many of its orders were accepted."""


class Sender:
    """A connection that sends requests of some orders each."""

    orders_in_request: int
    on_the_way_max: int

    def __init__(self) -> None:
        self.on_the_way = 0

    def send(self, number: int, bodies: list[bytes]) -> None:
        """Send a request."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError


class BatchSender(Sender):
    """Sends batches over HTTP, one at a time."""

    orders_in_request, on_the_way_max = BATCH_ORDERS, 1

    def __init__(self, target: Target, answered: Answered) -> None:
        super().__init__()
        self._target = target
        self._answered = answered
        self._number = 0
        self._connection: HttpConnection

    async def open(self) -> None:
        """Connect. Raises ConnectError."""
        self._connection = await connect(self._target, self, timeout_seconds=ANSWERS_SECONDS_MAX)

    def send(self, number: int, bodies: list[bytes]) -> None:
        """Send a batch."""
        self._number = number
        body = b'{"orders":[%s]}' % b",".join(bodies)
        self._connection.send(encode_post(self._target, "/orders/batch", body))

    def close(self) -> None:
        """Close the connection."""
        self._connection.abort("closed")

    def answered(self, connection: HttpConnection, response: Response) -> None:
        """Count the orders that were accepted."""
        self._answered(self, self._number, response.body.count(b'{"status":201,'))

    def lost(self, connection: HttpConnection, reason: str) -> None:
        """Ignore it: the loop misses the answer."""


class StreamSender(Sender, asyncio.Protocol):
    """Sends orders on /stream.

    Speaks the part of RFC 6455 that it needs: whole text frames. Each has a mask of zeros, which
    leaves the text as it is.
    """

    orders_in_request, on_the_way_max = 1, ON_THE_WAY

    def __init__(self, target: Target, answered: Answered) -> None:
        super().__init__()
        self._target = target
        self._answered = answered
        self._received = b""
        self._transport: asyncio.Transport
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect. Raises OSError."""
        await asyncio.get_running_loop().create_connection(lambda: self, self._target.host, self._target.port)
        self._transport.write(UPGRADE.format(authority=self._target.authority).encode())
        await self._opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, number: int, bodies: list[bytes]) -> None:
        """Send one order."""
        text = b'{"type":"place_order","id":%d,"order":%s}' % (number, bodies[0])
        self._transport.write(struct.pack("!BBH4x", TEXT, 0x80 | 126, len(text)) + text)

    def data_received(self, data: bytes) -> None:
        """Count the results in complete frames."""
        received = self._received + data
        if not self._opened.done():
            head, end, received = received.partition(b"\r\n\r\n")
            if not end:
                self._received = head
                return
            self._opened.set_result(None)
        begin = 0
        while (frame := _frame(received, begin)) is not None:
            text, begin = frame
            if text.startswith(b'{"type":"result","id":'):
                number, status = text[22:].split(b",", 2)[:2]
                self._answered(self, int(number), int(status == b'"status":201'))
        self._received = received[begin:]

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()


def _frame(data: bytes, begin: int) -> tuple[bytes, int] | None:
    """Return the text of the frame that begins there, and its end. None if it is incomplete."""
    if len(data) < begin + 2:
        return None
    size, start = data[begin + 1], begin + 2
    if size >= 126:
        start += 2 if size == 126 else 8
        if len(data) < start:
            return None
        size = int.from_bytes(data[begin + 2 : start], "big")
    return None if len(data) < start + size else (data[start : start + size], start + size)


class Figures(NamedTuple):
    """The results of one run, like those of wrk. Times are in milliseconds."""

    per_second: float
    p50: float
    p99: float
    acknowledged: int
    sent: int


class Loop:
    """Sends orders on some connections for a time: as fast as they are answered, or at a rate."""

    def __init__(self, bodies: Iterator[bytes], rate: float | None) -> None:
        self._bodies = bodies
        self._rate = rate
        self._numbers = count()
        self._begun: dict[int, float] = {}
        self._times: list[float] = []
        self._accepted = 0
        self._sent = 0
        self._senders: list[Sender] = []
        self._is_over = False
        self._all_answered = asyncio.Event()

    async def run(self, target: Target, sender: type[BatchSender | StreamSender], seconds: float) -> Figures:
        """Send for so long, and wait for all answers. Raises TimeoutError if one does not come."""
        for _ in range(CONNECTIONS):
            opened = sender(target, self._answered)
            await opened.open()
            self._senders.append(opened)
        started = time.perf_counter()
        if self._rate is None:
            for each in self._senders:
                for _ in range(each.on_the_way_max):
                    self._send(each, time.perf_counter())
            await asyncio.sleep(seconds)
        else:
            await self._send_at_rate(self._rate, sender.orders_in_request, started, seconds)
        self._is_over = True
        self._note_end()
        async with asyncio.timeout(ANSWERS_SECONDS_MAX):
            await self._all_answered.wait()
        elapsed = time.perf_counter() - started
        for each in self._senders:
            each.close()
        times = statistics.quantiles(self._times, n=100)
        return Figures(
            self._accepted / elapsed, 1000 * times[49], 1000 * times[98], self._accepted, self._sent
        )

    async def _send_at_rate(
        self, rate: float, orders_in_request: int, started: float, seconds: float
    ) -> None:
        interval = orders_in_request / rate
        due = started
        while due < started + seconds:
            now = time.perf_counter()
            while due <= now:
                free = min(self._senders, key=lambda sender: sender.on_the_way - sender.on_the_way_max)
                if free.on_the_way >= free.on_the_way_max:
                    break
                self._send(free, due)
                due += interval
            await asyncio.sleep(TICK_SECONDS)

    def _send(self, sender: Sender, due: float) -> None:
        number = next(self._numbers)
        self._begun[number] = due
        self._sent += sender.orders_in_request
        sender.on_the_way += 1
        sender.send(number, list(islice(self._bodies, sender.orders_in_request)))

    def _answered(self, sender: Sender, number: int, accepted: int) -> None:
        self._times.append(time.perf_counter() - self._begun.pop(number))
        self._accepted += accepted
        sender.on_the_way -= 1
        if self._rate is None and not self._is_over:
            self._send(sender, time.perf_counter())
        self._note_end()

    def _note_end(self) -> None:
        if self._is_over and not self._begun:
            self._all_answered.set()


def main() -> None:
    """Run all cases. Exits with 1 if an order was refused, or if an acknowledged one is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.entry", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=whole_number(1, 600), default=5, help="of each run (5)")
    parser.add_argument("--runs", type=whole_number(1, 100), default=5, help="of each case (5)")
    options = parser.parse_args()
    print_heading(parser.prog, PACKAGES)
    figures: dict[str, list[Figures]] = {}
    is_right = True
    print(f"{'':<32} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8}")
    with own_exchange(Path("manage.py").absolute()) as exchange:
        closed_orders(exchange.target, key_prefix(), SINGLE_CONNECTIONS, options.seconds)  # A warm-up.
        for _ in range(options.runs):
            for name in (SINGLE, BATCHES, STREAM):
                is_right &= _run(exchange, name, None, options.seconds, figures.setdefault(name, []))
        for name in (BATCHES, STREAM):
            rate = statistics.median(run.per_second for run in figures[name]) / 2
            case = f"{name}, open loop"
            for _ in range(options.runs):
                is_right &= _run(exchange, name, rate, options.seconds, figures.setdefault(case, []))
    print(f"\nmedians of {options.runs} runs")
    rates = {name: statistics.median(run.per_second for run in runs) for name, runs in figures.items()}
    for name, rate in rates.items():
        p50, p99 = (
            statistics.median(times) for times in zip(*(run[1:3] for run in figures[name]), strict=True)
        )
        ratio = f"{rate / rates[SINGLE]:>6.2f} x" if "open" not in name else ""
        print(f"{name:<32} {rate:>9,.0f} {p50:>8.1f} {p99:>8.1f} {ratio}")
    print_chart(f"orders a second: medians of {options.runs}", rates, "orders/s")
    sys.exit(not is_right)


def _run(exchange: OwnExchange, name: str, rate: float | None, seconds: int, runs: list[Figures]) -> bool:
    """Run a case and add its figures. Returns whether each order was accepted, and stored."""
    prefix = key_prefix()
    if name == SINGLE:
        closed = closed_orders(exchange.target, prefix, SINGLE_CONNECTIONS, seconds)
        run = Figures(closed.per_second, closed.p50, closed.p99, closed.acknowledged, closed.acknowledged)
        is_right = closed.errors == 0 and are_kept(closed.acknowledged, prefix, SINGLE_CONNECTIONS, exchange)
    else:
        bodies = (body for _, body in orders(prefix))
        sender = BatchSender if name == BATCHES else StreamSender
        run = uvloop.run(Loop(bodies, rate).run(exchange.target, sender, seconds))
        is_right = run.acknowledged == run.sent and are_kept(run.acknowledged, prefix, 0, exchange)
    runs.append(run)
    print(
        f"{name + (', open loop' if rate else ''):<32} {run.per_second:>9,.0f} {run.p50:>8.1f} {run.p99:>8.1f}"
        f"{'' if is_right else '  REFUSED OR LOST'}",
        flush=True,
    )
    return is_right


if __name__ == "__main__":
    main()
