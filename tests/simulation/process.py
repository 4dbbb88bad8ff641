"""A process of the simulation. It acts in steps, and may be killed or frozen between two steps."""

import asyncio
from random import Random

from tests.simulation.virtual_loop import VirtualLoop

STEP_SECONDS_MAX = 0.002


class ProcessDied(BaseException):
    """Raised in every task of a killed process. Not an Exception, so that no handler catches it."""


class Faults:
    """Interface of a source of faults. This one has none; see tests/simulation/faults.py."""

    def before_step(self, process: "Process") -> None:
        """Called before each step of a process."""


class Process:
    """A process of the exchange. Each call to a server awaits `step` before and after."""

    def __init__(self, name: str, random: Random, faults: Faults) -> None:
        self.name = name
        self.alive = True
        self.died = asyncio.Event()
        self.frozen_until = 0.0
        self.clock_ahead_seconds = 0.0  # of its machine's clock; negative: behind
        self._random = random
        self._faults = faults

    async def step(self) -> None:
        """Let some time pass. Raises ProcessDied if the process was killed meanwhile."""
        if not self.alive:
            raise ProcessDied(self.name)
        self._faults.before_step(self)
        loop = asyncio.get_running_loop()
        seconds = self._random.random() * STEP_SECONDS_MAX
        # Called here, not in a function, because a run has hundreds of steps.
        await (loop.after(seconds) if isinstance(loop, VirtualLoop) else asyncio.sleep(seconds))
        while self.alive and loop.time() < self.frozen_until:  # noqa: ASYNC110 - it may be frozen for longer meanwhile
            await asyncio.sleep(self.frozen_until - loop.time())
        if not self.alive:
            raise ProcessDied(self.name)

    def choose(self, count: int) -> int:
        """Return a random number from 0 to `count`."""
        return self._random.randint(0, count)

    def kill(self) -> None:
        self.alive = False
        self.died.set()

    def freeze(self, seconds: float) -> None:
        self.frozen_until = max(self.frozen_until, asyncio.get_running_loop().time() + seconds)
