"""Benchmarks that no test runs refer only to what exists, and check their options."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import pictures
from benchmarks.profile import STEPS
from benchmarks.screen import __main__ as screen
from benchmarks.screen import clients, page, paint, reconnects
from loadtools.relay import Relay
from loadtools.wire import Target
from tests.environment import SOURCES
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[1]
PARTS = sorted({part for steps in STEPS.values() for _, parts in steps for part in parts})
LIBRARIES = ("channels/", "concurrent/", "django/", "prometheus_client/", "rest_framework/", "uvicorn/")


@pytest.mark.parametrize("part", [part for part in PARTS if not part.startswith(LIBRARIES)])
def test_the_profile_names_functions_and_files_that_exist(part: str) -> None:
    """A part is a path, or a function or class, perhaps with its file: `settle (matching/a.py`."""
    function, _, place = part.partition(" (")
    if "/" in function:
        assert (ROOT / function).exists()
        return
    folders = [ROOT / place] if place else [ROOT / name for name in SOURCES]
    files = [ROOT / place] if place.endswith(".py") else [f for each in folders for f in each.rglob("*.py")]
    name = re.compile(rf"(def|class) {function.rpartition('.')[2]}\b")
    found = [file for file in files if not file.is_relative_to(ROOT / "tests") and ".venv" not in file.parts]
    assert any(name.search(file.read_text()) for file in found)


# --- the screen


def test_the_screens_benchmark_runs_all_parts_by_default() -> None:
    given = screen.parser().parse_args([])
    assert given.parts == []
    assert list(screen.PARTS) == ["frames", "paint", "clients", "heap", "reconnects"]
    assert (given.rate, given.seconds, given.loads, given.clients) == (200, 30, 10, 50)
    assert (given.heap_minutes, given.reconnect_minutes, given.pin) == (10, 20, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["--rate", "0"],
        ["--rate", "5001"],
        ["--runs", "0"],
        ["--seconds", "4"],
        ["--loads", "1.5"],
        ["--clients", "5001"],
        ["--heap-minutes", "241"],
        ["--reconnect-minutes", "0"],
    ],
)
def test_the_screens_benchmark_bounds_its_options(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        screen.parser().parse_args(arguments)


SELECTOR = re.compile(r"[.#]((?:ladder|tape|chart|connection|legend|asks|bids)[a-z-]*)")
SCREEN_SOURCES = "".join(path.read_text() for path in (ROOT / "screen/frontend/src").rglob("*.ts*"))


@pytest.mark.parametrize(
    "selectors",
    [page.IS_FULL, page.LADDER, paint.WATCH, reconnects.LIVE, *pictures.SELECTORS],
)
def test_what_the_benchmarks_read_of_the_screen_exists_in_its_sources(selectors: str) -> None:
    names = set(SELECTOR.findall(selectors))
    assert names
    assert "connection connection-${state}" in SCREEN_SOURCES
    for name in names - {"connection-open"}:
        assert re.search(rf"[\"'` ]{name}[\"'` $]", SCREEN_SOURCES), name


def test_clients_subscribe_as_the_screen_does() -> None:
    store = (ROOT / "screen/frontend/src/store.ts").read_text()
    market = (ROOT / "screen/frontend/src/feed/market.ts").read_text()
    messages = clients.subscriptions_of(["BTC-USD", "ETH-USD"])
    groups = [message["channels"] for message in messages]
    assert groups == [["orderbook_deltas", "trades"], ["candles"], ["ticker"], ["orders"]]
    assert 'channels = ["orderbook_deltas", "trades"]' in market
    assert 'channels: ["candles"], instrument: [symbol], interval' in market
    assert 'channels: ["ticker"], instrument: tickers' in store
    assert 'channels: ["orders"], instrument: orders, client_id' in store
    assert len(re.findall(r'subscriptions\.set\("\w+", \{', store + market)) == len(groups)


def test_the_ladder_is_read_as_exact_numbers() -> None:
    assert page.rows_of([["70,012.50", "0.1000", "1,234.5000"]]) == [
        (Decimal("70012.5"), Decimal("0.1"), Decimal("1234.5"))
    ]


def test_a_relay_breaks_connections_in_each_way() -> None:
    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(exchange, "127.0.0.1", 0)
        target = Target("127.0.0.1", server.sockets[0].getsockname()[1])
        with Relay(target) as relay:
            reader, writer = await connect(relay)
            assert await asked(reader, writer) == b"hello"
            await asyncio.to_thread(relay.cut)
            assert await gone(reader)
            reader, writer = await connect(relay)
            assert await asked(reader, writer) == b"hello"
            await asyncio.to_thread(relay.freeze)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asked(reader, writer), 0.2)  # silence is what the test is about
            other_reader, other_writer = await connect(relay)
            assert await asked(other_reader, other_writer) == b"hello"
            await asyncio.to_thread(relay.refuse)
            assert await gone(other_reader)
            with pytest.raises(ConnectionRefusedError):
                await connect(relay)
            await asyncio.to_thread(relay.accept)
            reader, writer = await connect(relay)
            assert await asked(reader, writer) == b"hello"
        server.close()

    async def connect(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(relay.target.host, relay.target.port)

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"hello")
        return await reader.read(100)

    async def gone(reader: asyncio.StreamReader) -> bool:
        try:
            return await reader.read(100) == b""
        except ConnectionResetError:
            return True

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))
