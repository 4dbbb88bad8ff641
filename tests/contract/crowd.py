"""Many clients that send at the same moment."""

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from tests.contract.client import Answer, Client


class Crowd:
    """Clients with a connection and a thread each."""

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
        """Place orders, dealt out to the clients like cards; all begin at the same moment."""
        start = threading.Barrier(len(self._clients))

        def send(number: int) -> list[Answer]:
            start.wait()
            client = self._clients[number]
            return [client.post("/orders", body) for body in bodies[number :: len(self._clients)]]

        hands = self._threads.map(send, range(len(self._clients)))
        return list(itertools.chain.from_iterable(hands))
