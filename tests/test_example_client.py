"""The example client: which snapshots and deltas it accepts, and when it subscribes again."""

import ast
import asyncio
import json
import re
import sys
import tomllib
import zlib
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.examples import exchange_client as client
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[1]
SECONDS_MAX = PATIENCE_SECONDS
SNAPSHOT = {
    "sequence": 7,
    "bids": [{"price": Decimal("70150.5"), "quantity": Decimal("0.1"), "orders": 1}],
    "asks": [{"price": 70151, "quantity": Decimal("0.00000001"), "orders": 2}],
    "checksum": zlib.crc32(b"70151001" + b"701505010000000"),
}
CHANGE = {"side": "buy", "price": Decimal("70150.5"), "quantity": Decimal("0.3"), "orders": 1}
DELTA: dict[str, Any] = {
    "previous_sequence": 7,
    "sequence": 9,
    "changes": [CHANGE, {"side": "sell", "price": 70151, "quantity": 0, "orders": 0}],
    "checksum": zlib.crc32(b"701505030000000"),
}


def book_of(snapshot: dict[str, Any]) -> Any:
    """Return a book of BTC-USD."""
    return client.FollowedBook(snapshot, Decimal("0.01"), Decimal("0.00000001"))


@pytest.mark.parametrize(
    ("tick", "lot", "price", "quantity", "digits"),
    [
        ("0.01", "0.1", 15, 3, b"150030"),
        ("0.01", "0.1", 15, "0.3", b"15003"),
        ("0.01", "0.1", "1.5", 3, b"15030"),
        ("5", "10", 15, 30, b"1530"),
        ("0.50", "0.00000001", "1.5", "0.00000001", b"151"),
        ("1E-8", "2.50", "0.00000001", 5, b"150"),
    ],
)
def test_the_checksum_uses_the_decimals_of_tick_and_lot(
    tick: str, lot: str, price: Any, quantity: Any, digits: bytes
) -> None:
    level = {"price": Decimal(price), "quantity": Decimal(quantity), "orders": 1}
    snapshot = {"sequence": 1, "bids": [level], "asks": [], "checksum": zlib.crc32(digits)}
    assert client.FollowedBook(snapshot, Decimal(tick), Decimal(lot)).sequence == 1


def test_a_delta_that_continues_the_book_is_accepted() -> None:
    book = book_of(SNAPSHOT)
    assert (book.best_bid, book.best_ask) == (Decimal("70150.5"), 70151)
    book.apply(DELTA)
    assert (book.sequence, book.bids, book.asks) == (9, {Decimal("70150.5"): (Decimal("0.3"), 1)}, {})


def test_a_gap_between_deltas_raises() -> None:
    with pytest.raises(client.BookError, match="does not continue"):
        book_of(SNAPSHOT).apply({**DELTA, "previous_sequence": 8})


@pytest.mark.parametrize(
    "wrong",
    [
        {**CHANGE, "quantity": Decimal("0.30000001")},
        {**CHANGE, "price": Decimal("70150.4")},
        {**CHANGE, "side": "sell"},
        {**CHANGE, "quantity": 0, "orders": 0},
    ],
)
def test_a_wrong_level_is_found_by_the_checksum(wrong: Any) -> None:
    with pytest.raises(client.BookError, match="checksum"):
        book_of(SNAPSHOT).apply({**DELTA, "changes": [wrong, DELTA["changes"][1]]})


def test_a_wrong_snapshot_is_refused() -> None:
    with pytest.raises(client.BookError):
        book_of({**SNAPSHOT, "asks": []})


Script = list[dict[str, Any]]


def list_instruments(connection: ServerConnection, request: Request) -> Response | None:
    """Answer GET /instruments. Leave every other request to the stream."""
    if request.path != "/instruments":
        return None
    rows = '[{"symbol":"BTC-USD","tick_size":0.01,"lot_size":0.00000001}]'
    return connection.respond(HTTPStatus.OK, f'{{"instruments":{rows},"next_cursor":null}}')


def follow(*connections: list[Script]) -> tuple[list[dict[str, Any]], Any]:
    """Run a Market on a server that answers each subscription with the next script.

    The server ends a connection after its last script. Returns the messages that the Market yields
    up to the end of the last connection's scripts, and the Market.
    """

    async def scenario() -> tuple[list[dict[str, Any]], Any]:
        rest = iter(connections)

        async def serve_one(connection: ServerConnection) -> None:
            for script in next(rest):
                assert json.loads(await connection.recv())["channels"] == ["orderbook_deltas"]
                for message in script:
                    await connection.send(json.dumps(message, default=float))

        wanted = sum(map(len, connections[-1]))
        messages: list[dict[str, Any]] = []
        async with (
            asyncio.timeout(SECONDS_MAX),
            serve(serve_one, "127.0.0.1", 0, process_request=list_instruments) as server,
        ):
            port = server.sockets[0].getsockname()[1]
            market = client.Market(f"http://127.0.0.1:{port}", "BTC-USD", "orderbook_deltas")
            async for message in market:
                messages.append(message)
                if market.reconnects == len(connections) - 1:
                    wanted -= 1
                if not wanted:
                    break
        return messages, market

    return asyncio.run(scenario())


UNAVAILABLE = {"type": "error", "code": "unavailable", "message": "Try again in a moment."}
SUBSCRIBED = {"type": "subscribed"}


def test_a_market_connects_again_after_a_temporary_refusal() -> None:
    messages, market = follow(
        [[SUBSCRIBED, UNAVAILABLE]], [[SUBSCRIBED, {"type": "orderbook_snapshot", **SNAPSHOT}]]
    )
    assert [message["type"] for message in messages] == ["subscribed", "subscribed", "orderbook_snapshot"]
    assert (market.book.sequence, market.reconnects, market.doubts) == (7, 1, 0)


def test_a_market_subscribes_again_if_its_book_is_in_doubt() -> None:
    snapshot = {"type": "orderbook_snapshot", **SNAPSHOT}
    gap = {"type": "orderbook_delta", **DELTA, "previous_sequence": 8}
    _, market = follow([[snapshot, gap], [snapshot]])
    assert (market.book.sequence, market.reconnects, market.doubts) == (7, 0, 1)


def test_a_market_raises_for_an_unknown_instrument() -> None:
    with pytest.raises(client.Refused, match="No such"):
        follow([[{"type": "error", "code": "instrument_not_found", "message": "No such instrument."}]])


def test_make_demo_installs_all_imports_of_the_examples() -> None:
    """The environment that `make run` makes has no development packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["examples"]]
    installed = {re.match(r"[\w-]+", requirement)[0] for requirement in wanted}  # type: ignore[index]
    examples = list((ROOT / "examples" / "python").glob("*.py"))
    imported = set()
    for path in examples:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    theirs = imported - sys.stdlib_module_names - {path.stem for path in examples}
    assert theirs >= {"httpx", "websockets"}
    assert theirs <= installed
