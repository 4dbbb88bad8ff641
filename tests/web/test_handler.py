"""The request handler with more requests than it may work on at once."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from tests.patience import PATIENCE_SECONDS
from web.content import JSONResponse
from web.handler import ApiHandler

ANSWER_SECONDS_MAX = PATIENCE_SECONDS

Message = Mapping[str, Any]


class WaitingHandler(ApiHandler):
    """Its views answer once `may_answer` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def _respond(self, scope: dict[str, Any], body: bytes) -> JSONResponse:
        await self.may_answer.wait()
        if body == b"broken":
            raise RuntimeError
        return JSONResponse({}, status=201)


async def send(
    handler: ApiHandler, method: str = "POST", path: str = "/orders", body: bytes = b""
) -> list[Message]:
    """Return the messages that the handler sends for a request."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def take(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await handler({"type": "http", "method": method, "path": path, "headers": []}, receive, take)
    return sent


async def start_requests(
    handler: ApiHandler, requests: int, method: str = "POST", path: str = "/orders", body: bytes = b""
) -> list["asyncio.Task[list[Message]]"]:
    tasks = [asyncio.create_task(send(handler, method, path, body)) for _ in range(requests)]
    await asyncio.sleep(0)  # each request runs until it has to wait
    return tasks


def status(sent: list[Message]) -> int:
    return int(sent[0]["status"])


@pytest.fixture(autouse=True)
def limits(settings: Settings) -> None:
    settings.COMMANDS_AT_ONCE_MAX = 3
    settings.CANCELS_AT_ONCE_MAX = 3
    settings.READS_AT_ONCE_MAX = 1
    settings.READS_WAITING_MAX = 2
    settings.REFUSALS_AT_ONCE = 2


def test_orders_beyond_the_limit_are_refused_while_earlier_ones_are_in_work() -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        working = await start_requests(handler, 3)
        head, body = await send(handler)
        assert head["status"] == 503
        assert (b"retry-after", b"1") in head["headers"]
        error = json.loads(body["body"])["error"]
        assert (error["code"], "was not processed" in error["message"]) == ("unavailable", True)
        assert not any(task.done() for task in working)
        handler.may_answer.set()
        assert [status(sent) for sent in await asyncio.gather(*working)] == [201] * 3

    asyncio.run(scenario())


def test_a_place_is_free_again_however_its_order_ends() -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        left, *broken = await start_requests(handler, 3, body=b"broken")
        left.cancel()
        handler.may_answer.set()
        await asyncio.gather(left, *broken, return_exceptions=True)
        assert [status(sent) for sent in await asyncio.gather(*await start_requests(handler, 3))] == [201] * 3

    asyncio.run(scenario())


COMMANDS = [("POST", "/orders"), ("POST", "/orders/")]
CANCELS = [("POST", "/orders/1/cancel"), ("POST", "/orders/1/cancel/")]
READS = [("GET", "/orders"), ("GET", "/orderbook"), ("HEAD", "/trades")]
ALWAYS_ANSWERED = [
    (method, path + slash)
    for method in ("GET", "HEAD")
    for path in ("/livez", "/healthz", "/metrics", "/tickers")
    for slash in ("", "/")
]


@pytest.mark.parametrize(("method", "path"), [*COMMANDS, *CANCELS, *READS])
def test_each_kind_of_request_has_a_limit_of_its_own(method: str, path: str) -> None:
    """Requests of other kinds do not count."""

    async def scenario() -> None:
        handler = WaitingHandler()
        kinds = [kind[0] for kind in (COMMANDS, CANCELS, READS) if (method, path) not in kind]
        kinds.append((method, path))
        working = [request for kind in kinds for request in await start_requests(handler, 3, *kind)]
        for kind in kinds:
            assert status(await send(handler, *kind)) == 503
        handler.may_answer.set()
        assert [status(sent) for sent in await asyncio.gather(*working)] == [201] * 9

    asyncio.run(scenario())


@pytest.mark.parametrize(("method", "path"), ALWAYS_ANSWERED)
def test_livez_and_shared_answers_are_always_given(method: str, path: str) -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        rooms = (READS[0], COMMANDS[0], CANCELS[0])
        working = [request for room in rooms for request in await start_requests(handler, 3, *room)]
        other = (await start_requests(handler, 1, method, path))[0]
        for full in rooms:
            assert status(await send(handler, *full)) == 503
        handler.may_answer.set()
        assert status(await other) == 201
        await asyncio.gather(*working)

    asyncio.run(scenario())


def test_reads_beyond_the_limit_wait_for_their_turn() -> None:
    class CountingHandler(WaitingHandler):
        working = most = 0

        async def _respond(self, scope: dict[str, Any], body: bytes) -> JSONResponse:
            self.working += 1
            self.most = max(self.most, self.working)
            try:
                return await super()._respond(scope, body)
            finally:
                self.working -= 1

    async def scenario() -> None:
        handler = CountingHandler()
        reads = await start_requests(handler, 3, *READS[0])
        handler.may_answer.set()
        assert [status(sent) for sent in await asyncio.gather(*reads)] == [201] * 3
        assert handler.most == 1

    asyncio.run(scenario())


def test_each_turn_of_the_loop_sends_a_limited_number_of_refusals() -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        working = await start_requests(handler, 3)
        waiting: set[asyncio.Task[list[Message]]] = set(await start_requests(handler, 7))
        turns = []
        while waiting:
            refused, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            turns.append(len(refused))
        assert sum(turns) == 7
        assert max(turns) <= 2
        handler.may_answer.set()
        await asyncio.gather(*working)

    asyncio.run(scenario())
