"""One request and its answer: uvicorn's cycle, but a whole answer is one write.

An application sends an answer as two messages, its start and its body. uvicorn checks each header
with two regular expressions and makes two packets. This costs more than the rest of the server's
work for an order.
"""

from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from web.errors import internal_error

_WITHOUT_BODY = (204, 304)


class WholeAnswerCycle(RequestResponseCycle):
    """Writes answers of two messages. uvicorn writes all others."""

    _begin: Any = None  # The start of an answer whose body is still to come.
    _body_delivered = False  # Whether the application has received the body's end.

    def has_left(self) -> bool:
        """Return whether the client has closed the connection."""
        return self.disconnected

    async def receive(self) -> ASGIReceiveEvent:
        """Return a complete body at once. uvicorn's method handles all other cases."""
        if self.more_body or self._body_delivered or self.disconnected or self.response_complete:
            return await super().receive()
        self._body_delivered = True
        self.message_event.clear()
        self.flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: ASGISendEvent) -> None:
        begin = self._begin
        if begin is None:
            if message["type"] == "http.response.start" and not self.response_started:
                self._begin = message
                return
        else:
            self._begin = None
            if message["type"] == "http.response.body" and not message.get("more_body"):
                if self.flow.write_paused and not self.disconnected:
                    await self.flow.drain()
                if not self.disconnected:
                    self._write_answer(begin["status"], begin.get("headers", ()), message.get("body", b""))
                return
            await super().send(begin)
        await super().send(message)

    def _write_answer(self, status: int, headers: Any, body: bytes) -> None:
        """Write a whole answer.

        If a client would misread the answer, writes nothing and raises RuntimeError.
        """
        parts = [STATUS_LINE[status]]
        headers = [*self.default_headers, *headers]  # The default header is the date.
        length: int | None = None
        closes = False
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                closes = True
            parts += (name, b": ", value, b"\r\n")
        lines = 1 + len(headers)
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        if self.scope["method"] == "HEAD" or status in _WITHOUT_BODY:
            body = b""
        elif length is None:
            parts.append(b"content-length: %d\r\n" % len(body))
            lines += 1
        elif length != len(body):
            raise RuntimeError(f"an answer of {len(body)} bytes says that it has {length}")
        parts.append(b"\r\n")
        head = b"".join(parts)
        if not head.count(b"\n") == head.count(b"\r") == lines + 1:
            raise RuntimeError("a header of an answer has more than one line")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        self.transport.write(head + body)
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def send_500_response(self) -> None:
        """Answer 500 in the format of all errors."""
        self._begin = None
        answer = internal_error()
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.items()]
        headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        await self.send(cast("Any", start))
        await self.send(cast("Any", {"type": "http.response.body", "body": answer.content}))
