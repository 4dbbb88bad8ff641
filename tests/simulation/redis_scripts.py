"""The worker's Lua scripts, as functions on the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.exceptions import OutOfMemoryError

from matching.publish import mirror, publisher
from matching.worker import command_stream

if TYPE_CHECKING:
    from tests.simulation.redis_model import Server


def move(server: Server, keys: list[str], arguments: list[Any]) -> int:
    key, bids, asks, epoch_key = keys
    previous, following, epoch, *levels = arguments
    if server.get(key) != str(previous).encode():
        return 0
    for letter, ticks, member in zip(levels[::3], levels[1::3], levels[2::3], strict=True):
        members = server.sets.setdefault({"b": bids, "a": asks}[letter], {})
        for gone in [name for name, score in members.items() if score == ticks]:
            del members[gone]
        if member:
            members[member] = ticks
    server.put(key, following)
    server.put(epoch_key, epoch)
    return 1


def begin(server: Server, keys: list[str], arguments: list[Any]) -> int:
    build, bids, asks, epoch_key = keys
    epoch, name, milliseconds = arguments
    stored = int(server.get(epoch_key) or 0)
    if stored > epoch:
        return stored
    server.put(epoch_key, epoch)
    server.remove(bids, asks)
    server.put(build, name, milliseconds)
    return 0


def add(server: Server, keys: list[str], arguments: list[Any]) -> int:
    build, key = keys
    name, milliseconds, *members = arguments
    if server.get(build) != name.encode():
        return 0
    server.sets.setdefault(key, {}).update(zip(members[1::2], members[::2], strict=True))
    server.put(build, name, milliseconds)
    return 1


def add_many(server: Server, keys: list[str], arguments: list[Any]) -> int:
    if server.full:
        raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    return add(server, keys, arguments)


def finish(server: Server, keys: list[str], arguments: list[Any]) -> int:
    build, *staged, sequence_key, bids, asks = keys
    name, sequence, *counts = arguments
    if server.get(build) != name.encode():
        return 0
    if [len(server.sets.get(key, {})) for key in staged] != counts:
        return 0
    server.remove(build, bids, asks)
    for key, place in zip(staged, (bids, asks), strict=True):
        if key in server.sets:
            server.sets[place] = server.sets.pop(key)
    server.put(sequence_key, sequence)
    return 1


def drop(server: Server, keys: list[str], arguments: list[Any]) -> int:
    epoch_key, *others = keys
    if int(server.get(epoch_key) or 0) > arguments[0]:
        return 0
    server.remove(*others)
    return 1


def heartbeat(server: Server, keys: list[str], arguments: list[Any]) -> bytes:
    owner, milliseconds = arguments
    server.put(keys[0], owner, milliseconds)
    return b"OK"


def append(server: Server, keys: list[str], arguments: list[Any]) -> Any:
    if "dead" in keys[0]:
        fields = arguments[3:]
        return server.dead_letters.append(dict(zip(fields[::2], fields[1::2], strict=True)))
    identifier, *fields = arguments
    return server.append_as(identifier, dict(zip(fields[::2], fields[1::2], strict=True)))


SCRIPTS: dict[str, Callable[[Server, list[str], list[Any]], Any]] = {
    mirror.MOVE: move,
    mirror.BEGIN: begin,
    mirror.ADD: add_many,
    mirror.ADD_FEW: add,
    mirror.FINISH: finish,
    mirror.DROP: drop,
    publisher.HEARTBEAT: heartbeat,
    command_stream.APPEND: append,
}
