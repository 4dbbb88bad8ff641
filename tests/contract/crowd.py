"""Many clients that send at the same moment."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from tests.contract.client import Answer, Client
from tests.patience import PATIENCE_SECONDS

Result = TypeVar("Result")


class Crowd:
    """Many clients. Each has its own connection and thread."""

    def __init__(self, url: str, clients: int) -> None:
        self._clients = [Client(url) for _ in range(clients)]
        self._threads = ThreadPoolExecutor(clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._threads.shutdown()
        for client in self._clients:
            client.close()

    def post(self, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
        """Share the orders out among the clients. All clients begin to place theirs at the same moment.

        On a slow machine, some answers may be 503. The clients then wait and send the order again, as
        that answer asks.
        """

        def send(number: int, client: Client) -> list[Answer]:
            return [_place(client, body) for body in bodies[number :: len(self._clients)]]

        return list(itertools.chain.from_iterable(self._at_once(send)))

    def connect_all(self) -> None:
        """Let every client send a request at the same moment, so that all are connected."""
        for answer in self._at_once(lambda _, client: client.send("GET", "/instruments")):
            assert answer.status == 200, answer.text

    def _at_once(self, act: Callable[[int, Client], Result]) -> list[Result]:
        start = threading.Barrier(len(self._clients))

        def begin(number: int, client: Client) -> Result:
            start.wait()
            return act(number, client)

        return list(self._threads.map(begin, range(len(self._clients)), self._clients))


def _place(client: Client, body: dict[str, Any]) -> Answer:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := client.post("/orders", body)).status == 503 and time.monotonic() < deadline:
        time.sleep(float(answer.headers["Retry-After"] or 0))
    return answer
