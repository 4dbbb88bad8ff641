"""An exchange on which clients trade while something is done to it, and the reckoning afterwards."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg

from chaos.breaches import Breaches, Kind
from chaos.checks import check_told
from chaos.journal import Journal
from chaos.parts import MANAGE_PY, PartMissing, Parts
from chaos.probe import NotRecovered, Probe
from chaos.streams import LISTENERS, Listeners
from chaos.told import Told
from chaos.traffic import MIDDLE_PRICES, Traffic
from loadtools.exchange import OwnExchange

AUDIT_SECONDS_MAX = 600.0
AUDIT_OUTPUT_CHARACTERS_MAX = 4_000


@dataclass
class Record:
    """What happened."""

    breaches: Breaches = field(default_factory=Breaches)
    recoveries: list[tuple[str, float]] = field(default_factory=list)  # what was done, and seconds
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0  # of trading


class Market(NamedTuple):
    """The exchange while clients trade on it."""

    parts: Parts
    probe: Probe
    told: Told


class Campaign:
    """One run against an exchange that runs before and after."""

    def __init__(self, exchange: OwnExchange, *, rate: int, seed: int, listeners: int = LISTENERS) -> None:
        self.exchange = exchange
        self.seed = seed
        self.journal_path = exchange.data_dir.parent / "journal.jsonl"
        self.record = Record()
        self.done = 0.0  # how far it is
        self.now = "starting"  # what is happening
        self._rate = rate
        self._listeners = listeners

    @contextlib.asynccontextmanager
    async def trading(self) -> AsyncIterator[Market]:
        """Clients trade inside, a standby worker waits; at the end they learn what is open, and all is checked."""
        target, started = self.exchange.target, time.monotonic()
        with Journal(self.journal_path) as journal:
            told = Told(journal, self.record.breaches)
            async with (
                Parts(self.exchange) as parts,
                Probe(target, told) as probe,
                Listeners(target, list(MIDDLE_PRICES), told, self._listeners) as listeners,
                Traffic(target, rate=self._rate, seed=self.seed, told=told) as traffic,
            ):
                await probe.recovered()
                await parts.standby_waits()
                yield Market(parts, probe, told)
                self.now = "the last requests"
                await traffic.finish()
                self.record.seconds = time.monotonic() - started
                self.record.counts = dict(told.counts)
                self.now = "checking"
                try:
                    await probe.healthy()
                    await listeners.compare(probe)
                    check_told(journal, parts.locations.postgres_uri, self.record.breaches)
                    await self._audit()
                except (NotRecovered, PartMissing, psycopg.Error) as error:
                    self.record.breaches.add(Kind.RECOVERY, f"when all was over: {error}")

    async def _audit(self) -> None:
        """`manage.py audit` in a process of its own, as an operator calls it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(MANAGE_PY), "audit", "--require-live"),
            cwd=MANAGE_PY.parent,
            env=self.exchange.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(AUDIT_SECONDS_MAX):
                output, _ = await process.communicate()
        except TimeoutError:
            output = f"not within {AUDIT_SECONDS_MAX:.0f} s".encode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            told = output[-AUDIT_OUTPUT_CHARACTERS_MAX:].decode(errors="replace")
            self.record.breaches.add(Kind.AUDIT, f"status {process.returncode}\n{told}")
