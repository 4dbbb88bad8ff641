"""Seeded faults, which happen between two steps of a process, to it or to the servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from orders import messages
from tests.simulation.process import Faults, Process

if TYPE_CHECKING:
    from tests.simulation.world import World

RATES = (0.0, 0.001, 0.004, 0.015)  # faults for each step; a run has one of these rates
AWAY_SECONDS_MAX = 3.0
FROZEN_SECONDS_MAX = 6.0
REDIS_BEHIND_MILLISECONDS_MAX = 100_000  # longer than a run waits for the recovery
CLOCK_AWAY_SECONDS_MAX = 3.0


class SeededFaults(Faults):
    """The faults of a run, which stop with `end`."""

    def __init__(self, world: World, random: Random, *, against: str = "") -> None:
        """`against` names a fault that makes up half of all faults."""
        self.count = 0
        self._world = world
        self._random = random
        self._rate = random.choice(RATES[2:] if against else RATES)
        self._ended = False
        self._saved: dict[str, Any] | None = None
        self._kinds: list[Callable[[Process], None]] = [
            self._kill,
            self._kill_owner,
            self._freeze,
            self._end_connections,
            self._end_connections,
            self._take_database_away,
            self._take_redis_away,
            self._end_redis_connections,
            self._empty_redis,
            self._fill_redis,
            self._cut_subscriptions,
            self._set_clock,
            self._append_garbage,
        ]
        if against:
            self._kinds += [getattr(self, f"_{against.replace(' ', '_')}")] * len(self._kinds)

    def before_step(self, process: Process) -> None:
        if self._ended or not process.alive or self._random.random() >= self._rate:
            return
        self.count += 1
        self._random.choice(self._kinds)(process)

    def end(self) -> None:
        """Stop all faults, and bring back servers and processes."""
        self._ended = True
        self._world.database.up = True
        self._world.server.up = True
        self._world.server.full = False
        for process in self._world.processes:
            process.frozen_until = 0.0

    def _kill(self, process: Process) -> None:
        self._world.kill(process)

    def _kill_owner(self, process: Process) -> None:
        """Kill the worker that owns the partition. It may be in the middle of anything."""
        owner = self._world.database.owner
        self._world.kill(next((one for one in self._world.processes if one.name == owner), process))

    def _freeze(self, process: Process) -> None:
        process.freeze(self._random.uniform(0, FROZEN_SECONDS_MAX))

    def _end_connections(self, process: Process) -> None:
        self._world.database.end_all()

    def _take_database_away(self, process: Process) -> None:
        database = self._world.database
        database.up = False
        database.end_all()
        self._later(lambda: setattr(database, "up", True))

    def _take_redis_away(self, process: Process) -> None:
        """Stop Redis, and later start it with its present data, or with data of an earlier time."""
        server = self._world.server
        saved = server.save()
        if self._random.random() < 0.5 and self._saved is not None:
            saved = self._saved
        self._saved = server.save()
        server.up = False

        def back() -> None:
            server.restart(saved)
            server.up = True

        self._later(back)

    def _end_redis_connections(self, process: Process) -> None:
        """Restart Redis at once, with its present data."""
        server = self._world.server
        server.restart(server.save())

    def _empty_redis(self, process: Process) -> None:
        """Restart Redis empty, perhaps on a machine whose clock is behind."""
        server = self._world.server
        if self._random.random() < 0.5:
            server.clock_offset_milliseconds -= self._random.randint(0, REDIS_BEHIND_MILLISECONDS_MAX)
        server.restart()

    def _fill_redis(self, process: Process) -> None:
        """Let Redis be out of memory for a while."""
        server = self._world.server
        server.full = True
        self._later(lambda: setattr(server, "full", False))

    def _cut_subscriptions(self, process: Process) -> None:
        """End all subscriptions. Replies are lost until processes have subscribed again."""
        self._world.server.listeners.clear()

    def _set_clock(self, process: Process) -> None:
        """Set the clock of the process's machine, forward or back."""
        process.clock_ahead_seconds = self._random.uniform(-CLOCK_AWAY_SECONDS_MAX, CLOCK_AWAY_SECONDS_MAX)

    def _append_garbage(self, process: Process) -> None:
        """Append an entry that is no command, or a command of an unknown version."""
        payload = self._random.choice((b"", b"\xc1", b"\x92\xa5place\x01", b"\x92\xa7unknown\x01"))
        self._world.server.append({messages.COMMAND_FIELD: payload})

    def _later(self, work: Callable[[], None]) -> None:
        def unless_ended() -> None:
            if not self._ended:
                work()

        asyncio.get_running_loop().call_later(self._random.uniform(0, AWAY_SECONDS_MAX), unless_ended)
