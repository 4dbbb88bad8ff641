"""The API process's orderly stop."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.client import ANSWER_SECONDS_MAX
from tests.contract.edge import listen
from tests.environment import exchange_variables
from tests.system.exchange import ROOT, wait_until

APPLICATION = "tests.hosting.server.application:application"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_open_requests_and_exits_with_success(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, **exchange_variables(tmp_path / "data")}
    port = int(environment["PORT"])
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "hosting.uvicorn_server", APPLICATION],
            cwd=ROOT,
            env=environment,
            stderr=stderr,
        )
    try:
        wait_until(lambda: f"listening on http://127.0.0.1:{port}" in log.read_text(), "it listens")
        address = ("127.0.0.1", port)
        with (
            socket.create_connection(address, ANSWER_SECONDS_MAX) as begun,
            socket.create_connection(address, ANSWER_SECONDS_MAX) as idle,
        ):
            begun.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert begun.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            server.send_signal(number)
            assert listen(idle) == ([], True)  # the idle connection is closed: the stop has begun
            begun.sendall(b"ok")
            (answer,) = listen(begun).answers
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.headers["Connection"] == "close"
        assert server.wait(ANSWER_SECONDS_MAX) == 0
        assert "ERROR" not in log.read_text()
    finally:
        server.kill()
        server.wait()
