"""Runs an ASGI application on the exchange's server in a process of its own."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from loadtools.exchange import free_port
from loadtools.wire import Target

_STARTS_SECONDS_MAX = 20.0
_POLL_SECONDS = 0.1


@contextmanager
def served(application: str, variables: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Serve `module:name` on loopback during the block.

    Raises OSError if it does not answer 200 in time.
    """
    target = Target("127.0.0.1", free_port())
    environment = {**os.environ, "PORT": str(target.port), **(variables or {})}
    command = [sys.executable, "-m", "hosting.uvicorn_server", application]
    process = subprocess.Popen(command, env=environment)
    try:
        await_answer(process, f"{target.url}/healthz")
        yield target
    finally:
        process.terminate()
        process.wait()


def await_answer(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Return when the process answers with 200.

    Raises OSError if the process does not answer in time, or has ended.
    """
    deadline = time.monotonic() + _STARTS_SECONDS_MAX
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(_POLL_SECONDS)
