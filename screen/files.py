"""The built files of the trading screen, compressed once and kept in memory.

`make screen` builds them from `screen/frontend` into `screen/build`. They are some 300 KB. Their
names contain a hash of their content, except for the page that names the others.
"""

import functools
import gzip
from pathlib import Path
from typing import NamedTuple

BUILD_DIR = Path(__file__).with_name("build")
PAGE = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


class ScreenFile(NamedTuple):
    """A built file in both codings."""

    media_type: str
    plain: bytes
    gzipped: bytes


@functools.cache
def screen_files() -> dict[str, ScreenFile]:
    """Return each built file by its name."""
    return {path.name: _read(path) for path in BUILD_DIR.iterdir() if path.suffix in MEDIA_TYPES}


def _read(path: Path) -> ScreenFile:
    plain = path.read_bytes()
    # The fixed time makes the bytes, and so the answers of all API processes, the same.
    return ScreenFile(MEDIA_TYPES[path.suffix], plain, gzip.compress(plain, mtime=0))


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip (RFC 9110, section 12.5.3)."""
    weights: dict[str, bool] = {}
    for entry in accept_encoding.lower().split(","):
        coding, _, parameters = entry.partition(";")
        weights[coding.strip()] = not _is_zero(parameters)
    return weights.get("gzip", weights.get("*", False))


def accepts_html(accept: str) -> bool:
    """Return whether an Accept header names text/html, as those of browsers do."""
    for entry in accept.lower().split(","):
        media_type, _, parameters = entry.partition(";")
        if media_type.strip() == "text/html":
            return not _is_zero(parameters)
    return False


def _is_zero(parameters: str) -> bool:
    """Return whether the parameters of an entry have the weight 0, which excludes it."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return value.strip().rstrip("0") in ("", "0.", ".")
    return False
