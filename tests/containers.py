"""`make containers` builds the image and runs the Compose file, if there is a container engine.

The exit status is 1 if a check fails. Without an engine it is 0, and a line says that the checks
were skipped. Everything runs under a project name of its own, and is removed with its volumes.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.environment import free_port

ROOT = Path(__file__).resolve().parents[1]
PROJECT = f"exchange-check-{os.getpid()}"
ENGINE_SECONDS_MAX = 30
BUILD_SECONDS_MAX = 1_800
UP_SECONDS_MAX = 600
CONDITION_SECONDS_MAX = 120.0
COMPOSE = (["docker", "compose"], ["podman", "compose"], ["podman-compose"])


class Failed(RuntimeError):
    """A check has failed. The message says which."""


def main() -> int:
    compose = find_engine()
    if compose is None:
        say("containers: skipped, as no engine answers (docker with compose, or podman with podman-compose)")
        return 0
    port = free_port()
    try:
        check(compose, port)
    except (Failed, subprocess.SubprocessError) as error:
        say(f"containers: {error}")
        run(compose, "logs", "--tail=40", check=False)
        return 1
    finally:
        run(compose, "down", "--volumes", "--timeout=30", check=False)
    say("containers: built, started, confined, traded, failed over and stopped in order")
    return 0


def find_engine() -> list[str] | None:
    """Return the command of the first Compose whose engine answers, or None."""
    for command in COMPOSE:
        if shutil.which(command[0]) is None:
            continue
        engine = "docker" if command[0] == "docker" else "podman"
        for question in ([engine, "info"], [*command, "version"]):
            try:
                asked = subprocess.run(question, capture_output=True, timeout=ENGINE_SECONDS_MAX, check=False)
            except (OSError, subprocess.TimeoutExpired):
                break
            if asked.returncode != 0:
                break
        else:
            return command
    return None


def check(compose: list[str], port: int) -> None:
    """Check everything that a user of the Compose file relies on. Raises Failed."""
    variables = {"PORT": str(port), "EXCHANGE_RATE_LIMIT": "off"}
    run(compose, "build", seconds_max=BUILD_SECONDS_MAX, variables=variables)
    run(compose, "up", "--detach", "--wait", seconds_max=UP_SECONDS_MAX, variables=variables)
    url = f"http://127.0.0.1:{port}"
    await_condition("it is healthy", lambda: status(f"{url}/healthz") == 200)
    place(url, "before")
    for service in ("postgres", "redis", "matching", "web"):
        shown = run(compose, "exec", "-T", service, "sh", "-c", "id -u; grep CapEff /proc/1/status")
        user, capabilities = shown.split()[0], shown.split()[-1]
        if user == "0" or int(capabilities, 16):
            raise Failed(f"{service} runs as user {user} with capabilities {capabilities}")
    for service, words in {"matching": "holds partition 0"}.items():
        said = run(compose, "exec", "-T", service, "python", "-m", "exchange_site.worker_health")
        if words not in said:
            raise Failed(f"{service} says: {said}")
    run(compose, "kill", "matching")
    run(compose, "up", "--detach", "--wait", seconds_max=UP_SECONDS_MAX, variables=variables)
    await_condition("it is healthy again", lambda: status(f"{url}/healthz") == 200)
    place(url, "before")
    run(compose, "stop", "--timeout=30", "web", "matching")
    for service in ("web", "matching"):
        listed = run(compose, "ps", "--all", "--format", "json", service)
        codes = [json.loads(line)["ExitCode"] for line in listed.splitlines() if line.startswith("{")]
        if any(codes):
            raise Failed(f"{service} ended with {codes} after SIGTERM")


def run(
    compose: list[str],
    *arguments: str,
    seconds_max: float = UP_SECONDS_MAX,
    variables: dict[str, str] | None = None,
    check: bool = True,
) -> str:
    """Run a Compose command, print its output, and return it. Raises Failed."""
    finished = subprocess.run(
        [*compose, "--project-name", PROJECT, *arguments],
        cwd=ROOT,
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds_max,
        check=False,
    )
    say(finished.stdout.rstrip())
    if check and finished.returncode != 0:
        raise Failed(f"{' '.join(arguments)} ended with {finished.returncode}")
    return finished.stdout


def place(url: str, key: str) -> None:
    order = {
        "client_id": "container",
        "instrument": "BTC-USD",
        "side": "buy",
        "type": "limit",
        "price": 1,
        "quantity": 1,
        "idempotency_key": key,
    }
    body = json.dumps(order).encode()
    request = urllib.request.Request(f"{url}/orders", body, {"Content-Type": "application/json"})
    await_condition("an order is taken", lambda: status(request) in (200, 201))


def status(request: urllib.request.Request | str) -> int:
    """Return the status of the answer, or 0 if no answer came."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def await_condition(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CONDITION_SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {CONDITION_SECONDS_MAX:.0f} s: {what}")
        time.sleep(0.2)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
