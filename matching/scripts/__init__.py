"""The worker's Lua scripts, by name.

Those that start with `#!lua flags=allow-oom` write although the server's memory is full (Redis 7 and later,
Valkey): a worker that could not say that it is alive, or move its mirrors, would keep clients from cancelling, and
so from making room. Each adds little, and only what orders that were admitted ask for.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent


def read_script(name: str) -> str:
    """The text of a script, as the server is given it."""
    return (_FOLDER / f"{name}.lua").read_text()
