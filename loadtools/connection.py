"""One keep-alive connection that carries one request at a time, with callbacks instead of futures.

With callbacks a request costs little more than its two system calls. `Caller` wraps callbacks in a
future, for code that is easier to read as a coroutine and for which microseconds do not matter.
"""

import asyncio
from typing import Protocol, cast

from loadtools.wire import Response, ResponseError, ResponseParser, Target


class ConnectError(ConnectionError):
    """The target did not accept the connection."""


class Owner(Protocol):
    """The user of a connection, which is told of its events."""

    def answered(self, connection: "HttpConnection", response: Response) -> None: ...

    def lost(self, connection: "HttpConnection", reason: str) -> None:
        """Called once, when the connection has ended. `reason` is a short error kind."""


class HttpConnection(asyncio.Protocol):
    """Has at most one request in flight. `due_ns` and `sent_ns` are its times."""

    __slots__ = (
        "_lost_reason",
        "_owner",
        "_parser",
        "_transport",
        "due_ns",
        "in_flight",
        "proven",
        "sent_ns",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None
        self._lost_reason = "connection_lost"
        self.in_flight = False
        self.proven = False  # Whether it has carried an answer.
        self.due_ns = 0
        self.sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not inherit from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        """Send a request. Raises `ConnectionError` if the peer has closed the connection."""
        if self._transport is None:
            raise ConnectionError(self._lost_reason)
        self.in_flight = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            responses = self._parser.feed(data)
        except ResponseError:
            self.abort("bad_response")
            return
        for response in responses:
            if not self.in_flight:
                self.abort("unasked_response")
                return
            self.in_flight = False
            self.proven = True
            if response.closes:
                self.abort("connection_closed")
            self._owner.answered(self, response)

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def abort(self, reason: str) -> None:
        """Drop the connection, and tell the owner `reason`."""
        self._lost_reason = reason
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.lost(self, self._lost_reason)


async def connect(target: Target, owner: Owner, *, timeout_seconds: float) -> HttpConnection:
    """Connect to the target. Raises `ConnectError`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_seconds):
            _, connection = await loop.create_connection(
                lambda: HttpConnection(owner), target.host, target.port
            )
    except (OSError, TimeoutError) as error:
        raise ConnectError(
            f"cannot connect to {target.url} ({error or 'no answer in time'}). Start an exchange there with: "
            f"PORT={target.port} make run; or set PORT or --url to a running exchange"
        ) from None
    return connection


class Caller:
    """Sends a request and waits for its answer. Connects if it has no connection."""

    def __init__(
        self, target: Target, *, connect_timeout_seconds: float = 5.0, answer_timeout_seconds: float = 30.0
    ) -> None:
        self._target = target
        self._connect_timeout_seconds = connect_timeout_seconds
        self._answer_timeout_seconds = answer_timeout_seconds
        self._connection: HttpConnection | None = None
        self._answer: asyncio.Future[Response] | None = None

    async def open(self) -> HttpConnection:
        """Return the connection.

        Connect first if the connection is not usable. Raises `ConnectError`.
        """
        if self._connection is None or not self._connection.usable:
            self._connection = await connect(
                self._target, self, timeout_seconds=self._connect_timeout_seconds
            )
        return self._connection

    async def call(self, request: bytes) -> Response:
        """Send a request and return the answer.

        Raises `ConnectError`, `ConnectionError` if the connection broke, or `TimeoutError`.
        """
        connection = await self.open()
        self._answer = asyncio.get_running_loop().create_future()
        connection.send(request)
        try:
            async with asyncio.timeout(self._answer_timeout_seconds):
                return await self._answer
        except TimeoutError:
            connection.abort("timeout")
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort("closed")

    def answered(self, connection: HttpConnection, response: Response) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def lost(self, connection: HttpConnection, reason: str) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
