"""The worker's Lua scripts, by name.

Scripts that start with `#!lua flags=allow-oom` write even if the server's memory is full (Redis 7
and later, Valkey). If a worker could not send its heartbeat or move its mirrors, clients could not
cancel orders, and so could not make room. Each of these scripts adds little data, and only for
admitted orders.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent


def read_script(name: str) -> str:
    """Return the text of a script, as it is sent to the server."""
    return (_FOLDER / f"{name}.lua").read_text()
