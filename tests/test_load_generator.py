"""The load generator: the orders it sends, how it reads answers, and how it measures latency."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from loadtools.fixtures import FixtureError, count_orders, fixture_lines, read_fixture
from loadtools.generator import Judge, LoadGenerator, LoadResult, Plan
from loadtools.latency import Latencies
from loadtools.mix import DEFAULT_MARKET, MarketError, order_bodies, parse_market
from loadtools.run import AcknowledgementJudge
from loadtools.submission import SubmissionLimits, submit
from loadtools.wire import (
    Response,
    ResponseError,
    ResponseParser,
    Target,
    TargetError,
    encode_post,
    loopback_target,
)
from tests.patience import PATIENCE_SECONDS

ANSWER = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{"a"}'
Answerer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


# --- reading answers


def test_parser_reads_an_answer_cut_at_any_byte() -> None:
    for cut in range(1, len(ANSWER)):
        parser = ResponseParser()
        responses = parser.feed(ANSWER[:cut]) + parser.feed(ANSWER[cut:])
        assert [(response.status, response.body) for response in responses] == [(201, b'{"a"}')]


def test_parser_reads_single_bytes_and_several_answers_at_once() -> None:
    parser = ResponseParser()
    other = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"
    stream = ANSWER + other + ANSWER
    at_once = ResponseParser().feed(stream)
    one_by_one = [response for byte in stream for response in parser.feed(bytes([byte]))]
    assert [response.status for response in at_once] == [201, 503, 201]
    assert [response.status for response in one_by_one] == [201, 503, 201]
    assert at_once[1].header("Retry-After") == "7"
    assert at_once[0].header("Retry-After") is None


def test_parser_reads_a_body_longer_than_the_bound_of_heads() -> None:
    parser = ResponseParser()
    piece = b"x" * 20_000
    assert parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n") == parser.feed(piece) == []
    (response,) = parser.feed(piece)
    assert response.body == piece * 2


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc Huh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
    ],
)
def test_parser_refuses_an_invalid_answer(garbage: bytes) -> None:
    with pytest.raises(ResponseError):
        ResponseParser().feed(garbage)


# --- orders, and their target


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:8000", "http://127.9.9.9:80"]
)
def test_loopback_addresses_are_accepted(url: str) -> None:
    assert loopback_target(url).port in (80, 8000)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:8000",
        "http://example.com",
        "http://0.0.0.0:8000",
        "http://localhost.example.com:8000",
        "http://127.0.0.1@example.com:8000",
        "https://127.0.0.1:8000",
        "127.0.0.1:8000",
        "http://127.0.0.1:99999",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(TargetError, match=r"http://127\.0\.0\.1"):
        loopback_target(url)


def test_the_mix_is_reproducible_and_as_described() -> None:
    def take(seed: int, count: int) -> list[bytes]:
        markets = [parse_market(DEFAULT_MARKET)]
        return list(itertools.islice(order_bodies(seed=seed, key_prefix="k", markets=markets), count))

    bodies = take(7, 5_000)
    assert bodies == take(7, 5_000)
    assert bodies[:100] == take(7, 100)
    assert bodies != take(8, 5_000)

    orders = [json.loads(body, parse_float=Decimal) for body in bodies]
    limits = [order for order in orders if order["type"] == "limit"]
    assert 0.65 < len(limits) / len(orders) < 0.75
    assert all(("price" in order) == (order["type"] == "limit") for order in orders)
    assert all(Decimal("69950.00") <= order["price"] <= Decimal("70050.00") for order in limits)
    assert all(Decimal("0.01") <= order["quantity"] <= Decimal("0.51") for order in orders)
    assert len({order["idempotency_key"] for order in orders}) == len(orders)
    assert len({order["client_id"] for order in orders}) > 900
    assert {order["side"] for order in orders} == {"buy", "sell"}


@pytest.mark.parametrize(
    "text", ["BTC-USD", "BTC-USD:", "BTC-USD:x", "BTC-USD:-1.00", "BTC-USD:0.01", ":1.00", "A:NaN"]
)
def test_an_invalid_market_is_refused(text: str) -> None:
    with pytest.raises(MarketError, match="for example"):
        parse_market(text)


# --- latency and errors


@asynccontextmanager
async def _serve(answer: Answerer) -> AsyncIterator[Target]:
    """Run a server that reads one request after the other, and calls `answer` for each."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await answer(await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])


PLAN = Plan(
    requests=20,
    duration_seconds=PATIENCE_SECONDS,
    rate_per_second=1000,
    connections=1,
    answer_timeout_seconds=PATIENCE_SECONDS,
    connect_timeout_seconds=PATIENCE_SECONDS,
)


async def _run(target: Target, *, judge: Judge, **changes: Any) -> LoadResult:
    requests = itertools.repeat(encode_post(target, "/orders", b"{}"))
    return await LoadGenerator(target, replace(PLAN, **changes), requests, judge).run()


def _created(response: Response) -> str | None:
    return None if response.status == 201 else str(response.status)


def test_latency_in_open_loop_includes_the_wait_for_a_stalled_server() -> None:
    """20 requests are due within 190 ms. The server answers none before 300 ms have passed."""
    stalled_seconds = 0.3

    async def scenario() -> LoadResult:
        stalled = True

        async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal stalled
            if stalled:
                await asyncio.sleep(stalled_seconds)  # a real stall, which the test is about
                stalled = False
            writer.write(ANSWER)

        async with _serve(answer) as target:
            return await _run(target, judge=_created, rate_per_second=100)

    outcome = asyncio.run(scenario())
    assert outcome.right == 20
    # Request i was due i * 10 ms after the first, and no answer came before the end of the stall.
    latencies = sorted(outcome.latencies_microseconds, reverse=True)
    for index, latency in enumerate(latencies):
        assert latency >= (stalled_seconds - index * 0.010) * 1e6 - 2_000


def test_closed_loop_sends_the_next_request_after_an_answer() -> None:
    in_flight_max = 0

    async def scenario() -> LoadResult:
        in_flight = 0

        async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal in_flight, in_flight_max
            in_flight += 1
            in_flight_max = max(in_flight_max, in_flight)
            await asyncio.sleep(0)
            in_flight -= 1
            writer.write(ANSWER)

        async with _serve(answer) as target:
            return await _run(target, judge=_created, rate_per_second=None, connections=3, requests=500)

    outcome = asyncio.run(scenario())
    assert outcome.right == outcome.requests == 500
    assert in_flight_max <= 3


def test_a_run_ends_in_time_even_if_the_server_never_answers() -> None:
    async def scenario() -> LoadResult:
        async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
            pass

        async with _serve(answer) as target:
            return await _run(
                target,
                judge=_created,
                requests=10,
                connections=2,
                duration_seconds=0.1,
                answer_timeout_seconds=0.3,
            )

    outcome = asyncio.run(scenario())
    assert outcome.right == 0
    assert outcome.errors.total() == 10
    assert set(outcome.errors) <= {"timeout", "unanswered_at_end", "not_sent"}
    assert outcome.errors["not_sent"] <= 8


def test_errors_are_counted_by_kind_and_the_run_goes_on() -> None:
    limited = b'{"error":{"code":"rate_limited","message":"slow down"}}'
    created = b'{"order_id": "0198c0de-0000-7000-8000-%012d"}'

    async def scenario() -> tuple[LoadResult, AcknowledgementJudge]:
        count = itertools.count()

        async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
            number = next(count)
            if number == 1:
                writer.write(b"220 this is not HTTP\r\n")
            elif number == 2:
                writer.close()
            elif number == 3:
                writer.write(_answer(b"429 Too Many Requests", limited))
            elif number == 4:
                writer.write(_answer(b"201 Created", b"{}"))
            else:
                writer.write(_answer(b"201 Created", created % number))

        judge = AcknowledgementJudge()
        async with _serve(answer) as target:
            return await _run(target, judge=judge, rate_per_second=None), judge

    outcome, judge = asyncio.run(scenario())
    assert outcome.errors == {
        "bad_response": 1,
        "connection_lost": 1,
        "429 rate_limited": 1,
        "201 without an order_id": 1,
    }
    assert outcome.right == len(judge.acknowledged) == 16


def _answer(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


def test_latencies_keep_three_significant_figures() -> None:
    latencies = Latencies([1_000] * 99 + [2_000_000])
    assert latencies.milliseconds_at(50) == pytest.approx(1.0, rel=0.002)
    assert latencies.milliseconds_at(100) == pytest.approx(2_000, rel=0.002)
    assert sum(count for _, count in latencies.counted_milliseconds()) == latencies.count == 100


# --- fixtures


def test_fixtures_are_reproducible_and_can_be_read(tmp_path: Path) -> None:
    markets = [parse_market(DEFAULT_MARKET), parse_market("ETH-USD:3500.00")]
    lines = list(fixture_lines(orders=300, seed=42, markets=markets))
    assert lines == list(fixture_lines(orders=300, seed=42, markets=markets))
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"".join(lines))
    assert count_orders(path) == 300
    assert [body + b"\n" for body in read_fixture(path)] == lines


GOOD = (
    '{"idempotency_key":"k","client_id":"c","instrument":"BTC-USD",'
    '"side":"buy","type":"market","quantity":0.1}'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (GOOD, "not json"),
        (GOOD, "[]"),
        ('"idempotency_key":"k",', ""),
        ('"buy"', '"hold"'),
        ('"market"', '"limit"'),
        ('"market"', '"market","price":1'),
        ("0.1", "0"),
        ("0.1", '"NaN"'),
        ('"c"', '"a b"'),
        ('"c"', '"c","color":"red"'),
    ],
)
def test_the_refusal_of_a_bad_line_names_its_number(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text(f"{GOOD}\n\n{GOOD.replace(old, new)}\n{GOOD}\n")
    with pytest.raises(FixtureError, match="line 3"):
        count_orders(path)


def test_orders_are_sent_again_until_their_outcome_is_known() -> None:
    limits = SubmissionLimits(
        connections=4,
        attempts=3,
        retry_after_seconds_max=0.01,
        answer_timeout_seconds=PATIENCE_SECONDS,
        connect_timeout_seconds=PATIENCE_SECONDS,
    )
    seen: list[bytes] = []

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        first = body not in seen
        seen.append(body)
        if body == b'"hopeless"':
            writer.write(_answer(b"503 Service Unavailable", b"{}", b"Retry-After: 1\r\n"))
        elif body == b'"refused"':
            writer.write(_answer(b"400 Bad Request", b"{}"))
        elif body == b'"cut"' and first:
            writer.close()
        elif body == b'"unknown"' and first:
            writer.write(_answer(b"504 Gateway Timeout", b"{}"))
        elif body in (b'"unknown"', b'"cut"'):
            writer.write(_answer(b"200 OK", b"{}", b"Idempotency-Replayed: true\r\n"))
        else:
            writer.write(_answer(b"201 Created", b"{}"))

    async def scenario() -> None:
        bodies = [b'"new"', b'"hopeless"', b'"refused"', b'"cut"', b'"unknown"']
        async with _serve(answer) as target:
            submission = await submit(target, iter(bodies), limits, lambda so_far: None)
        assert (submission.created, submission.replayed, submission.failed) == (1, 2, 2)
        assert submission.statuses == {201: 1, 200: 2, 503: 1, 400: 1}
        assert submission.retries == 4
        assert seen.count(b'"hopeless"') == 3
        assert seen.count(b'"refused"') == 1

    asyncio.run(scenario())


def test_a_missing_server_is_reported_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match="make run"):
        asyncio.run(_run(Target("127.0.0.1", port), judge=_created))
