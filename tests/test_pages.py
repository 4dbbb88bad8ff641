"""Room for the admin's and the docs' pages: a few at a time, and for nobody for ever."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pytest_django.fixtures import Settings

from exchange_site.pages import Pages

ANSWER_SECONDS_MAX = 5.0
AT_ONCE, WAITING = 2, 3

Message = Mapping[str, Any]


class SlowPage:
    """An ASGI application whose pages come when they may; `began` of them are begun."""

    def __init__(self, *, begins_to_answer: bool = False) -> None:
        self.may_answer = asyncio.Event()
        self.began = 0
        self._begins_to_answer = begins_to_answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.began += 1
        if self._begins_to_answer:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(pages: Pages) -> list[Message]:
    sent: list[Message] = []

    async def take(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await pages({"type": "http", "path": "/docs"}, receive, take)
    return sent


def test_a_few_pages_at_once_some_wait_and_the_rest_is_refused(settings: Settings) -> None:
    settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX = AT_ONCE, WAITING

    async def scenario() -> None:
        page = SlowPage()
        pages = Pages(page)
        asking = [asyncio.create_task(ask(pages)) for _ in range(AT_ONCE + WAITING)]
        await asyncio.sleep(0)
        assert page.began == AT_ONCE
        refused = await ask(pages)
        assert refused[0]["status"] == 503
        assert (b"retry-after", b"1") in refused[0]["headers"]
        assert b'"unavailable"' in refused[1]["body"]
        page.may_answer.set()
        answers = await asyncio.gather(*asking)
        assert [sent[0]["status"] for sent in answers] == [200] * (AT_ONCE + WAITING)
        assert page.began == AT_ONCE + WAITING

    asyncio.run(scenario())


def test_a_page_that_takes_too_long_gives_its_place_back(settings: Settings) -> None:
    settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX = 1, 0
    settings.PAGE_SECONDS_MAX = 0.01

    async def scenario() -> None:
        (begin, body) = await ask(Pages(SlowPage()))
        assert (begin["status"], body["type"]) == (503, "http.response.body")
        pages = Pages(SlowPage(begins_to_answer=True))
        for _ in range(3):  # the server ends what was begun
            (begin,) = await ask(pages)
            assert begin["status"] == 200

    asyncio.run(scenario())
