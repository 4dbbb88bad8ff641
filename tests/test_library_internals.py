"""Private parts of libraries that this project uses. New versions of a library may change them.

Each failure names the attribute, the file that uses it, and the library's file to read.
"""

import ast
import inspect
import textwrap
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict
from redis.asyncio import Redis
from uvicorn import Server

from base.metrics_values import CountsFile
from hosting.server.cycle import WholeAnswerCycle
from hosting.server.ends import OneAtATime
from hosting.server.http import RequestProtocol
from hosting.server.websocket import StreamProtocol
from hosting.uvicorn_server import GracefulServer

OURS = ("base", "hosting", "web")
# Our subclasses of libraries' classes, each with the methods of the library that it overrides.
SUBCLASSES: dict[type, tuple[str, ...]] = {
    CountsFile: ("_init_value",),
    GracefulServer: ("capture_signals", "startup"),
    OneAtATime: ("resume_reading",),
    RequestProtocol: (
        *("connection_made", "connection_lost", "data_received", "eof_received", "on_response_complete"),
        *("pause_writing", "resume_writing", "shutdown"),
    ),
    StreamProtocol: (
        *("connection_made", "connection_lost", "data_received", "handle_cont", "handle_ping", "receive"),
        *("resume_writing", "run_asgi", "send", "send_receive_event_to_app"),
    ),
    WholeAnswerCycle: ("receive", "send", "send_500_response"),
}


@pytest.mark.parametrize("subclass", SUBCLASSES, ids=lambda subclass: subclass.__name__)
def test_a_library_has_the_attributes_that_its_subclass_uses(subclass: type) -> None:
    """Our classes or the library's set each attribute of `self` that our classes read."""
    classes = [each for each in subclass.__mro__ if each is not object]
    ours = [each for each in classes if each.__module__.startswith(OURS)]
    theirs = [each for each in classes if each not in ours]
    present = {name for each in classes for name in (*dir(each), *attributes_of(each, ast.Store))}
    used = {name for each in ours for name in attributes_of(each, ast.Load)}
    assert used <= present, advice(subclass, theirs, used - present)
    replaced = set(SUBCLASSES[subclass])
    known = {name for each in theirs for name in dir(each)}
    assert replaced <= known, advice(subclass, theirs, replaced - known)


def test_redis_py_lets_us_take_over_its_connection() -> None:
    connection = Redis.from_url("redis://localhost").connection_pool.make_connection()  # type: ignore[no-untyped-call]
    reason = (
        "base/redis.py takes over redis-py's transport: read redis/asyncio/connection.py, and base/redis.py"
    )
    assert hasattr(connection, "_writer"), f"AbstractConnection._writer is gone. {reason}"
    assert "nowait" in inspect.signature(connection.disconnect).parameters, f"disconnect(nowait). {reason}"


def test_the_check_finds_missing_attributes() -> None:
    """The check finds a renamed attribute, and knows private attributes of today's libraries."""

    class Renamed(WholeAnswerCycle):
        def use(self) -> Any:
            return self.flow_control  # type: ignore[attr-defined]

    assert "flow_control" in attributes_of(Renamed, ast.Load)
    assert "flow_control" not in attributes_of(WholeAnswerCycle.__mro__[1], ast.Store)
    assert {"_used", "_capacity", "_f"} <= attributes_of(MmapedDict, ast.Store)
    assert "_captured_signals" in attributes_of(Server, ast.Store)


def attributes_of(owner: type, context: type[ast.expr_context]) -> set[str]:
    """Return the attributes of `self` that a class's source reads (Load) or sets (Store)."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, context)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return names | set(getattr(owner, "__annotations__", {}))


def advice(subclass: type, theirs: list[type], missing: set[str]) -> str:
    library = ", ".join(inspect.getfile(each) for each in theirs if inspect.getmodule(each) is not None)
    return (
        f"{subclass.__module__}.{subclass.__name__} uses {sorted(missing)}, which its library lacks."
        f" Read {library}, change {inspect.getfile(subclass)}, and then the bound in pyproject.toml."
    )
