"""The API's request handler under more orders than it works on at a time."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.http import HttpResponseBase
from pytest_django.fixtures import Settings

from exchange_site.handler import ApiHandler
from rest.content import JSONResponse

ANSWER_SECONDS_MAX = 5.0

Message = Mapping[str, Any]


class WaitingHandler(ApiHandler):
    """Its views answer when they may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def _respond(self, scope: dict[str, Any], body: bytes) -> HttpResponseBase:
        await self.may_answer.wait()
        if body == b"broken":
            raise RuntimeError
        return JSONResponse({}, status=201)


async def send(
    handler: ApiHandler, method: str = "POST", path: str = "/orders", body: bytes = b""
) -> list[Message]:
    """What the handler sends for a request."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def take(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await handler({"type": "http", "method": method, "path": path, "headers": []}, receive, take)
    return sent


async def started(handler: ApiHandler, orders: int, body: bytes = b"") -> list["asyncio.Task[list[Message]]"]:
    tasks = [asyncio.create_task(send(handler, body=body)) for _ in range(orders)]
    await asyncio.sleep(0)  # each runs until it waits
    return tasks


def status(sent: list[Message]) -> int:
    return int(sent[0]["status"])


@pytest.fixture(autouse=True)
def limits(settings: Settings) -> None:
    settings.ORDERS_IN_PROGRESS_MAX = 3
    settings.ORDER_REFUSALS_AT_ONCE = 2


def test_orders_beyond_the_limit_are_refused_while_the_others_wait() -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        working = await started(handler, 3)
        head, body = await send(handler)
        assert head["status"] == 503
        assert (b"Retry-After", b"1") in head["headers"]
        error = json.loads(body["body"])["error"]
        assert (error["code"], "was not taken" in error["message"]) == ("unavailable", True)
        assert not any(task.done() for task in working)
        handler.may_answer.set()
        assert [status(sent) for sent in await asyncio.gather(*working)] == [201] * 3

    asyncio.run(scenario())


def test_places_are_free_again_however_an_order_ends() -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        left, *broken = await started(handler, 3, b"broken")
        left.cancel()
        handler.may_answer.set()
        await asyncio.gather(left, *broken, return_exceptions=True)
        assert [status(sent) for sent in await asyncio.gather(*await started(handler, 3))] == [201] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/orders"), ("GET", "/healthz"), ("POST", "/orders/1/cancel")]
)
def test_other_requests_need_no_place(method: str, path: str) -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        working = await started(handler, 4)
        other = asyncio.create_task(send(handler, method, path))
        assert status(await working.pop()) == 503
        handler.may_answer.set()
        assert status(await other) == 201
        await asyncio.gather(*working)

    asyncio.run(scenario())


def test_of_refusals_too_only_some_are_made_in_a_turn() -> None:
    async def scenario() -> None:
        handler = WaitingHandler()
        working = await started(handler, 3)
        waiting: set[asyncio.Task[list[Message]]] = set(await started(handler, 7))
        turns = []
        while waiting:
            refused, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            turns.append(len(refused))
        assert sum(turns) == 7
        assert max(turns) <= 2
        handler.may_answer.set()
        await asyncio.gather(*working)

    asyncio.run(scenario())
