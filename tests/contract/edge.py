"""Raw bytes to a server, and what comes back."""

import http.client
import io
import socket
from typing import NamedTuple

from tests.contract.client import ANSWER_SECONDS_MAX, Answer


class Heard(NamedTuple):
    """The answers on one connection; `closed` if the other side ended it."""

    answers: list[Answer]
    closed: bool


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)


def talk(port: int, *parts: bytes, half_close: bool = False, method: str = "GET") -> Heard:
    """Send all parts, then read until the other side closes."""
    with connect(port) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it may have closed already
        return listen(connection, method)


def listen(connection: socket.socket, method: str = "GET") -> Heard:
    """Read until the other side closes."""
    data = b""
    closed = True
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except TimeoutError:
        closed = False
    except OSError:
        pass
    return Heard(parse_answers(data, method), closed)


def parse_answers(data: bytes, method: str = "GET") -> list[Answer]:
    """All answers in the bytes, with the interim ones."""
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
