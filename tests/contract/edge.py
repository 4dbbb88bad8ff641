"""Raw connections to a server: bytes are sent, and answers are parsed."""

import http.client
import io
import socket
from typing import NamedTuple

from tests.contract.client import ANSWER_SECONDS_MAX, Answer

# Heads without their last line, to which tests add headers.
GET = b"GET /instruments HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"
# The whole head of a request with a body in chunks.
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Received(NamedTuple):
    """The answers on one connection. `closed` says whether the server closed it."""

    answers: list[Answer]
    closed: bool


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)


def send_and_listen(port: int, *parts: bytes, half_close: bool = False, method: str = "GET") -> Received:
    """Send all parts, and return what the server sends until it closes or a read times out.

    With `half_close`, tell the server after the parts that no more bytes will follow.
    """
    with connect(port) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server may have closed the connection already
        return listen(connection, method)


def listen(connection: socket.socket, method: str = "GET") -> Received:
    """Return what the server sends until it closes the connection or a read times out."""
    data = b""
    closed = True
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except TimeoutError:
        closed = False
    except OSError:
        pass
    return Received(parse_answers(data, method), closed)


def parse_answers(data: bytes, method: str = "GET") -> list[Answer]:
    """Return all answers in the bytes, interim ones included."""
    answers: list[Answer] = []
    while data:
        stream = io.BytesIO(data)
        status_line = stream.readline()
        status = int(status_line.split(b" ", 2)[1])
        headers = http.client.parse_headers(stream)
        bodyless = status < 200 or method == "HEAD"
        body = b"" if bodyless else stream.read(int(headers["Content-Length"]))
        answers.append(Answer(status, headers, body))
        data = stream.read()
    return answers
