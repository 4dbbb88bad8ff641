"""One run: clients trade while faults are injected, and then all promises are checked."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg

from chaos.breaches import Breaches, Kind
from chaos.checks import check_journal
from chaos.client_log import ClientLog
from chaos.guarded import check_guarded, guarded_clients
from chaos.journal import Journal
from chaos.parts import MANAGE_PY, PartMissing, Parts
from chaos.probe import NotRecovered, Probe
from chaos.streams import SUBSCRIBERS, compare_books, subscribe
from chaos.traffic import Traffic
from loadtools.exchange import OwnExchange

_AUDIT_SECONDS_MAX = 600.0
_AUDIT_OUTPUT_CHARACTERS_MAX = 4_000


@dataclass
class Record:
    """The results of a run."""

    breaches: Breaches = field(default_factory=Breaches)
    # Each fault with the seconds of its recovery.
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0  # Time of trading.


class TradedExchange(NamedTuple):
    """The exchange while clients trade on it."""

    parts: Parts
    probe: Probe
    client_log: ClientLog


class Campaign:
    """One run against an exchange, which must be running before and after it."""

    def __init__(
        self, exchange: OwnExchange, *, rate: int, seed: int, subscribers: int = SUBSCRIBERS
    ) -> None:
        self.exchange = exchange
        self.seed = seed
        self.journal_path = exchange.data_dir.parent / "journal.jsonl"
        self.record = Record()
        self.done = 0.0  # The progress, up to the `length` of chaos.stage.perform.
        self.now = "starting"  # A description of the current step.
        self._rate = rate
        self._subscribers = subscribers

    @contextlib.asynccontextmanager
    async def trading(self) -> AsyncIterator[TradedExchange]:
        """Let clients trade during the block, while a standby worker waits.

        At the end the clients find out the results of unanswered requests, and the promises are
        checked.
        """
        target, started = self.exchange.target, time.monotonic()
        with Journal(self.journal_path) as journal:
            client_log = ClientLog(journal, self.record.breaches)
            traffic = Traffic(target, rate=self._rate, seed=self.seed, client_log=client_log)
            with contextlib.closing(Probe(target, client_log)) as probe:
                async with (
                    Parts(self.exchange) as parts,
                    subscribe(target, client_log, self._subscribers) as subscribers,
                    traffic.run(),
                ):
                    await probe.recovered()
                    await parts.standby_waits()
                    async with guarded_clients(target, client_log, seed=self.seed):
                        yield TradedExchange(parts, probe, client_log)
                    self.now = "the last requests"
                    await traffic.finish()
                    self.record.seconds = time.monotonic() - started
                    self.record.counts = dict(client_log.counts)
                    self.now = "checking"
                    try:
                        await probe.healthy()
                        await check_guarded(parts, client_log)
                        await compare_books(subscribers, probe, client_log)
                        check_journal(journal, parts.locations.postgres_uri, self.record.breaches)
                        await self._audit()
                    except (NotRecovered, PartMissing, psycopg.Error) as error:
                        self.record.breaches.add(Kind.RECOVERY, f"at the end: {error}")

    async def _audit(self) -> None:
        """Run `manage.py audit` in a process of its own, as an operator does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(MANAGE_PY), "audit", "--require-live"),
            cwd=MANAGE_PY.parent,
            env=self.exchange.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_AUDIT_SECONDS_MAX):
                output, _ = await process.communicate()
        except TimeoutError:
            output = f"not within {_AUDIT_SECONDS_MAX:.0f} s".encode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            text = output[-_AUDIT_OUTPUT_CHARACTERS_MAX:].decode(errors="replace")
            self.record.breaches.add(Kind.AUDIT, f"status {process.returncode}\n{text}")
