"""Daphne's command line. Once it listens, it gives up the right to listen on ports below 1024."""

from typing import Any

from daphne.cli import CommandLineInterface
from daphne.server import Server

from hosting.authority import give_up_port_capability


class ListeningServer(Server):  # type: ignore[misc]
    """Daphne's server."""

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        give_up_port_capability()


if __name__ == "__main__":
    CommandLineInterface.server_class = ListeningServer
    CommandLineInterface.entrypoint()
