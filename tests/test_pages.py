"""Pages of the admin and the docs: a few at a time, with bounded time and size."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pytest_django.fixtures import Settings

from exchange_site.pages import Pages
from tests.patience import PATIENCE_SECONDS

ANSWER_SECONDS_MAX = PATIENCE_SECONDS
AT_ONCE, WAITING = 2, 3

Message = Mapping[str, Any]


class SlowPage:
    """An ASGI application that answers once `may_answer` is set. Counts the pages that it began."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.began = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        form = (await receive())["body"]
        self.began += 1
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"you said: ", form):
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def ask(pages: Pages, *form: Message) -> list[Message]:
    """Return the messages that a client gets. It sends `form`, by default an empty request."""
    sent: list[Message] = []
    messages = iter(form or ({"type": "http.request", "body": b""},))

    async def take(message: Message) -> None:
        sent.append(message)

    async def receive() -> Any:
        return next(messages, None) or await asyncio.get_running_loop().create_future()

    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await pages({"type": "http", "path": "/docs", "headers": []}, receive, take)
    return sent


def part(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": True}


def test_some_pages_run_some_wait_and_the_rest_is_refused(settings: Settings) -> None:
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


def test_a_page_that_takes_too_long_ends_and_frees_its_place(settings: Settings) -> None:
    settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX = 1, 0
    settings.PAGE_SECONDS_MAX = 0.01

    async def scenario() -> None:
        page = SlowPage()
        pages = Pages(page)
        for _ in range(3):
            (begin, body) = await ask(pages)
            assert begin["status"] == 504
            assert b'"outcome_unknown"' in body["body"]  # the form may have had its effect
        settings.PAGE_SECONDS_MAX = PATIENCE_SECONDS
        page.may_answer.set()
        assert (await ask(pages))[0]["status"] == 200

    asyncio.run(scenario())


def test_a_form_that_has_not_arrived_takes_no_place(settings: Settings) -> None:
    settings.PAGES_AT_ONCE_MAX, settings.PAGES_WAITING_MAX = 1, 0
    settings.REQUEST_BODY_SECONDS_MAX = PATIENCE_SECONDS

    async def scenario() -> None:
        page = SlowPage()
        page.may_answer.set()
        pages = Pages(page)
        silent = [asyncio.create_task(ask(pages, part(b"a="))) for _ in range(5)]
        await asyncio.sleep(0)
        whole = await ask(pages, part(b"a="), {"type": "http.request", "body": b"1"})
        assert (whole[0]["status"], whole[1]["body"]) == (200, b"you said: a=1")
        assert not any(task.done() for task in silent)
        for task in silent:
            task.cancel()
        await asyncio.wait(silent)
        assert all(task.cancelled() for task in silent)
        settings.REQUEST_BODY_SECONDS_MAX = 0.01
        for begin, _ in await asyncio.gather(*(ask(pages, part(b"a=")) for _ in range(5))):
            assert begin["status"] == 408
            assert (b"connection", b"close") in begin["headers"]

    asyncio.run(scenario())


def test_a_form_that_is_too_large_is_refused(settings: Settings) -> None:
    settings.PAGE_FORM_BYTES_MAX = 10
    page = SlowPage()
    page.may_answer.set()
    small, large = (
        asyncio.run(ask(Pages(page), part(b"x"), *rest))
        for rest in (
            [{"type": "http.request", "body": b"y" * 9}],
            [part(b"y" * 10)],
        )
    )
    assert (small[0]["status"], large[0]["status"]) == (200, 413)
