"""The chaos tool's clients, on a stand-in for the exchange that gives prepared replies."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chaos import traffic
from chaos.breaches import Breaches, Kind
from chaos.client_log import ClientLog
from chaos.journal import Entry, Journal, NotTaken, Placed
from chaos.traffic import REQUESTS_PER_CLIENT_AND_SECOND, Traffic
from loadtools.wire import Target
from tests.patience import PATIENCE_SECONDS

Order = dict[str, Any]
Reply = tuple[int, Order] | None  # status and body, or None if the connection is lost


def acknowledgement(order: Order) -> Reply:
    told: Order = {
        "price": None,
        "idempotency_key": None,
        "filled_quantity": 0,
        "status": "filled",
        "trades": [],
        "time_in_force": "gtc",
        "post_only": False,
        "self_trade_prevention": "none",
    }
    return 201, {**told, **order, "order_id": str(uuid4())}


def refusal(status: int) -> Reply:
    return status, {"error": {"code": "unavailable", "message": "Not now."}}


class StandIn:
    """Answers requests with the replies, one after the other. Acknowledges all later requests."""

    def __init__(self, replies: Iterable[Callable[[Order], Reply]]) -> None:
        self._replies = iter(replies)
        self.orders: list[Order] = []
        self.settled = asyncio.Event()  # all replies and one acknowledgement have been sent

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                order = json.loads(await reader.readexactly(length))
                self.orders.append(order)
                reply = next(self._replies, None)
                answer = (reply or acknowledgement)(order)
                if answer is None:
                    return
                body = json.dumps(answer[1]).encode()
                writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n" % (answer[0], len(body)) + body)
                if reply is None:
                    self.settled.set()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def run_client(
    folder: Path, *replies: Callable[[Order], Reply]
) -> tuple[list[Order], list[Entry], Breaches, dict[str, int]]:
    """Run one client until it has an answer beyond the replies.

    Returns the orders that it sent, the journal's entries, the breaches, and the counts.
    """

    async def run() -> list[Order]:
        stand_in = StandIn(replies)
        server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0)
        target = Target("127.0.0.1", server.sockets[0].getsockname()[1])
        clients = Traffic(target, rate=REQUESTS_PER_CLIENT_AND_SECOND, seed=1, client_log=client_log)
        async with clients.run():
            async with asyncio.timeout(PATIENCE_SECONDS):
                await stand_in.settled.wait()
            await clients.finish()
        server.close()
        return stand_in.orders

    breaches = Breaches()
    with Journal(folder / "journal.jsonl") as journal:
        client_log = ClientLog(journal, breaches)
        orders = asyncio.run(run())
        return orders, list(journal.entries()), breaches, client_log.counts


@pytest.fixture
def only_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "ONCE_SHARE", 0)
    monkeypatch.setattr(traffic, "DUPLICATE_SHARE", 0)


@pytest.mark.usefixtures("only_keys")
def test_an_order_with_a_key_is_sent_until_its_outcome_is_known(tmp_path: Path) -> None:
    replies = [lambda order: refusal(503), lambda order: None, lambda order: refusal(504), acknowledgement]
    orders, entries, breaches, counts = run_client(tmp_path, *replies)
    assert orders[:4] == [orders[0]] * 4
    assert orders[4]["idempotency_key"] != orders[0]["idempotency_key"]
    assert [type(entry) for entry in entries] == [Placed] * len(entries)
    assert len(entries) == counts["acknowledged"] >= 2
    assert counts["retried"] == 3
    assert not breaches


@pytest.mark.usefixtures("only_keys")
@pytest.mark.parametrize("reply", [refusal(500), refusal(422), (201, {"order_id": "none"})])
def test_an_unexpected_answer_is_a_breach(tmp_path: Path, reply: Reply) -> None:
    _, _, breaches, _ = run_client(tmp_path, lambda order: reply)
    assert breaches.counts == {Kind.ANSWER: 1}


def test_an_order_without_a_key_is_sent_once_by_a_client_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "ONCE_SHARE", 1)
    replies = [lambda order: refusal(503), lambda order: refusal(504), lambda order: None]
    orders, entries, breaches, counts = run_client(tmp_path, *replies)
    clients = [order["client_id"] for order in orders]
    assert len(set(clients)) == len(clients)
    assert all("idempotency_key" not in order for order in orders)
    refused = [entry.client_id for entry in entries if isinstance(entry, NotTaken)]
    assert refused == clients[:1]  # the outcome of the other orders is unknown
    assert (counts["refused"], counts["unknown"]) == (1, 2)
    assert not breaches


def test_duplicates_are_sent_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "ONCE_SHARE", 0)
    monkeypatch.setattr(traffic, "DUPLICATE_SHARE", 1)
    orders, entries, _, counts = run_client(tmp_path)
    assert orders[0] == orders[1]
    assert len(entries) == len(orders) == 2 * counts["acknowledged"]


def test_an_unexpected_answer_beside_an_acknowledgement_is_a_breach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "ONCE_SHARE", 0)
    monkeypatch.setattr(traffic, "DUPLICATE_SHARE", 1)
    _, _, breaches, counts = run_client(tmp_path, acknowledgement, lambda order: refusal(422))
    assert breaches.counts == {Kind.ANSWER: 1}
    assert counts["acknowledged"] >= 1
