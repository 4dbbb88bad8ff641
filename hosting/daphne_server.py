"""Daphne's command line, which gives up the right to listen on ports below 1024 once it listens."""

from typing import Any

from daphne.cli import CommandLineInterface
from daphne.server import Server

from hosting.authority import listening


class ListeningServer(Server):  # type: ignore[misc]
    """Daphne's server."""

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        listening()


if __name__ == "__main__":
    CommandLineInterface.server_class = ListeningServer
    CommandLineInterface.entrypoint()
