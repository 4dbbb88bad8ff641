"""The entrance to the admin, for requests without an operator's ticket: the login.

Any number of such requests may arrive. Operators can still log in, and orders are not slowed:
- The login page is rendered once and served from memory, at a limited rate. Every other page of the
  admin redirects to it.
- A login form without its security token is refused at the same rate.
- Logins with an operator's name are checked one at a time on a thread of their own. Addresses take
  turns. A wrong password costs a processor some tenths of a second. After LOGIN_FAILURES_MAX wrong
  passwords the name is locked for that address.
- Logins with other names can't succeed. They are checked as well, so that a client can't find out
  which names exist, but on another thread and at a limited rate. Further ones are refused
  unchecked.
"""

import asyncio
import functools
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from html import escape
from typing import Any, NamedTuple
from unicodedata import normalize
from urllib.parse import parse_qs, quote

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpResponse, HttpResponseRedirect
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import get_random_string

from base.database import DatabaseReader
from base.refusals import Unavailable
from base.shared import SharedResult
from operators.logins import client_party, operator_names
from operators.tickets import cookie_of
from web.concurrency import DelayedRefusals
from web.errors import ErrorResponse, bad_request, too_busy

_LOGIN_PATH = "/admin/login/"
_HOME_PATH = "/admin/"
_NEXT_CHARACTERS_MAX = 500
_UNKNOWN_NAMES_WAITING_MAX = 5
_UNKNOWN_NAME_SECONDS = 1.0  # Shortest time for one check, if others wait.

_TOKEN = re.compile(r"[A-Za-z0-9]{32}|[A-Za-z0-9]{64}", re.ASCII)
_TOKEN_FIELD = re.compile(r'(name="csrfmiddlewaretoken" value=")[^"]*(")')
_CSRF_PLACEHOLDER = "the-token"
_NEXT_PLACEHOLDER = "/admin/the-next-page/"
_FORM = b"application/x-www-form-urlencoded"

_Message = Mapping[str, Any]
_PageRunner = Callable[[dict[str, Any], bytes], Awaitable[list[_Message]]]

_read_names = DatabaseReader(
    threads=1,
    places_max=10,
    seconds_max=settings.DESK_READ_SECONDS_MAX,
    statement_seconds_max=settings.DESK_READ_SECONDS_MAX,
)


class _LoginPage(NamedTuple):
    """The login page with placeholders for the security token and the next page."""

    text: bytes
    headers: dict[str, str]


class FairQueue:
    """Lets one login through at a time. Addresses take turns, however many logins each has."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._length = 0

    def is_full_for(self, address: str) -> bool:
        here = len(self._waiting.get(address, ()))
        return self._length >= settings.LOGINS_WAITING_MAX or here >= settings.LOGINS_WAITING_PER_ADDRESS_MAX

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn. The turn lasts as long as the block."""
        if self._busy:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(address, deque()).append(turn)
            self._length += 1
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._start_next()  # The turn came just before the cancellation.
                raise
        self._busy = True
        try:
            yield
        finally:
            self._start_next()

    def _start_next(self) -> None:
        """Give the turn to the first waiting login of the next address."""
        self._busy = False
        while self._waiting:
            address, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            self._length -= 1
            if turns:
                self._waiting[address] = turns
            if not turn.done():
                self._busy = True
                turn.set_result(None)
                return


class _StrangerPace:
    """Answers STRANGERS_AT_ONCE requests in each STRANGER_SECONDS.

    STRANGERS_WAITING_MAX requests may wait or be answered. Further ones are refused.
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(settings.STRANGERS_AT_ONCE)
        self._waiting = 0
        self._refusals = DelayedRefusals()

    async def answer_paced(self, make_answer: Callable[[], HttpResponse]) -> HttpResponse:
        if self._waiting >= settings.STRANGERS_WAITING_MAX:
            return await self._refusals.refuse(too_busy)
        self._waiting += 1
        try:
            async with self._turns:
                await asyncio.sleep(settings.STRANGER_SECONDS)
        finally:
            self._waiting -= 1
        return make_answer()


class Entrance:
    """Answers requests to the admin without a ticket.

    `run_known` and `run_unknown` serve logins with operators' names and with other names. Each has
    a thread of its own.
    """

    def __init__(self, run_known: _PageRunner, run_unknown: _PageRunner) -> None:
        self._run_known = run_known
        self._run_unknown = run_unknown
        self._names = SharedResult(
            functools.partial(_read_names, operator_names), settings.OPERATOR_NAMES_SECONDS
        )
        self._queue = FairQueue()
        self._unknown_turn = asyncio.Semaphore(1)
        self._unknown_waiting = 0
        self._pace = _StrangerPace()
        self._page: asyncio.Task[_LoginPage] | None = None

    async def answer(self, scope: dict[str, Any], body: bytes) -> list[_Message] | HttpResponse:
        if not _is_host_allowed(scope):
            return await self._pace.answer_paced(lambda: bad_request(None, DisallowedHost()))  # type: ignore[arg-type]
        is_login = scope["path"] == _LOGIN_PATH
        if is_login and scope["method"] == "POST":
            return await self._log_in(scope, body)
        if is_login and scope["method"] in ("GET", "HEAD"):
            page = await self._get_page(scope)
            return await self._pace.answer_paced(functools.partial(_fill_in_page, page, scope))
        return await self._pace.answer_paced(functools.partial(_redirect_to_login, scope))

    async def _log_in(self, scope: dict[str, Any], body: bytes) -> list[_Message] | HttpResponse:
        form = _form_of(scope, body)
        token = cookie_of(scope["headers"], settings.CSRF_COOKIE_NAME)
        if not token or not form.get("csrfmiddlewaretoken"):
            return await self._pace.answer_paced(_refuse_without_token)
        address = client_party(str((scope.get("client") or ("unknown",))[0]))
        # Django normalizes names in the same way.
        if await self._is_operator(normalize("NFKC", form.get("username", "").strip())):
            if self._queue.is_full_for(address):
                return await self._pace.answer_paced(too_busy)
            async with self._queue.turn(address):
                return await self._run_known(scope, body)
        if self._unknown_waiting >= _UNKNOWN_NAMES_WAITING_MAX:
            return await self._pace.answer_paced(too_busy)
        self._unknown_waiting += 1
        try:
            async with self._unknown_turn:
                answer, _ = await asyncio.gather(
                    self._run_unknown(scope, body),
                    asyncio.sleep(_UNKNOWN_NAME_SECONDS * (self._unknown_waiting > 1)),
                )
                return answer
        finally:
            self._unknown_waiting -= 1

    async def _is_operator(self, name: str) -> bool:
        """Return whether a login with this name can succeed. True if the database does not answer.

        In that case the login itself fails, and its answer says so.
        """
        try:
            return name in await self._names.get()
        except Unavailable:
            return True

    async def _get_page(self, scope: dict[str, Any]) -> _LoginPage:
        """Return the login page. It is rendered once for all requests."""
        if self._page is None or (self._page.done() and self._page.exception() is not None):
            self._page = asyncio.create_task(self._render(scope))
        return await asyncio.shield(self._page)

    async def _render(self, scope: dict[str, Any]) -> _LoginPage:
        """Return the page as Django renders it for a browser without cookies."""
        host = [(name, value) for name, value in scope["headers"] if name == b"host"]
        query = f"next={quote(_NEXT_PLACEHOLDER, safe='/')}".encode()
        plain = {**scope, "method": "GET", "headers": host, "query_string": query}
        begin, content = await self._run_unknown(plain, b"")
        if begin["status"] != 200:
            raise RuntimeError(f"the login page can't be rendered: status {begin['status']}")
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in begin["headers"]
            if name not in (b"set-cookie", b"content-length", b"expires")
        }
        text = _TOKEN_FIELD.sub(rf"\g<1>{_CSRF_PLACEHOLDER}\g<2>", content["body"].decode())
        return _LoginPage(text.encode(), headers)


def _fill_in_page(page: _LoginPage, scope: dict[str, Any]) -> HttpResponse:
    token = cookie_of(scope["headers"], settings.CSRF_COOKIE_NAME)
    if token is None or not _TOKEN.fullmatch(token) or len(token) != 32:
        token = get_random_string(32)
    text = page.text.replace(_CSRF_PLACEHOLDER.encode(), token.encode())
    text = text.replace(_NEXT_PLACEHOLDER.encode(), escape(quote(_next_of(scope), safe="/")).encode())
    response = HttpResponse(text, headers=page.headers)
    response.set_cookie(
        settings.CSRF_COOKIE_NAME,
        token,
        max_age=settings.CSRF_COOKIE_AGE,
        secure=settings.CSRF_COOKIE_SECURE,
        samesite=settings.CSRF_COOKIE_SAMESITE,
    )
    response["Content-Length"] = str(len(response.content))
    response["Set-Cookie"] = response.cookies.output(header="").strip()  # send_response sends headers only.
    return response


def _is_host_allowed(scope: Mapping[str, Any]) -> bool:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def _form_of(scope: Mapping[str, Any], body: bytes) -> dict[str, str]:
    """Return the fields of a login form, or no fields if the body is not a form."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != _FORM:
        return {}
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _refuse_without_token() -> ErrorResponse:
    return ErrorResponse(
        403,
        "forbidden",
        f"The login form's security token is missing. GET {_LOGIN_PATH} first, and send its cookie and its token.",
    )


def _redirect_to_login(scope: Mapping[str, Any]) -> HttpResponse:
    if f"{scope['path']}/" == _HOME_PATH:
        return HttpResponseRedirect(_HOME_PATH, headers={"Content-Length": "0"})
    path = scope["path"] if len(scope["path"]) <= _NEXT_CHARACTERS_MAX else _HOME_PATH
    query = scope.get("query_string", b"").decode("latin-1")
    target = f"{path}?{query}" if query and len(query) <= _NEXT_CHARACTERS_MAX else path
    url = f"{_LOGIN_PATH}?next={quote(target, safe='/')}"
    return HttpResponseRedirect(url, headers={"Content-Length": "0"})


def _next_of(scope: Mapping[str, Any]) -> str:
    """Return the path to redirect to after the login. It is always below the admin."""
    fields = parse_qs(scope.get("query_string", b"").decode("latin-1")[: 4 * _NEXT_CHARACTERS_MAX])
    target = fields.get("next", [_HOME_PATH])[-1]
    ours = target.startswith(_HOME_PATH) and len(target) <= _NEXT_CHARACTERS_MAX
    return target if ours and not target.startswith(_LOGIN_PATH) else _HOME_PATH
