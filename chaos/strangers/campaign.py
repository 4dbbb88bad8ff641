"""One attack after the other on one exchange, with the honest client before, during and after each."""

import asyncio
import contextlib
import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chaos.strangers.attacks import Attack
from chaos.strangers.honest import Honest
from chaos.strangers.prepare import prepare
from chaos.strangers.verdict import CALM_AGAIN_SECONDS, Result, between, p95, refused
from loadtools.exchange import OwnExchange

BEFORE_SECONDS = 3.0
MEASURED_AFTER_SECONDS = 2.0  # the last of them come CALM_AGAIN_SECONDS after the attack's end, and later
MEMORY_SECONDS = 0.5
ENDS_SECONDS_MAX = 15.0  # for the attackers' process to end by itself

ROOT = Path(__file__).resolve().parents[2]
PARTS = {  # by a word of the command line
    "valkey-server": "Valkey",
    "run_matching": "worker",
    "exchange_site": "API",
    "daphne": "API",
    "manage.py serve": "serve",
    "postgres": "PostgreSQL",
}
KIB_PER_MIB = 1024
PREPARED_PER_NOTE = 1_000


async def attack_all(
    exchange: OwnExchange,
    attacks: Sequence[Attack],
    *,
    seconds: float,
    scale: float,
    note: Callable[[str, int], None],
) -> list[Result]:
    """Run the attacks; `note` is told what goes on, and how many are done."""
    results = []
    facts: dict[str, dict[str, Any]] = {}
    for number, attack in enumerate(attacks):
        if attack.needs not in facts:
            show = functools.partial(_note_preparation, note, attack.needs, number)
            facts[attack.needs] = await prepare(exchange.target, attack.needs, scale, show)
        note(attack.name, number)
        results.append(
            await _attack(exchange, attack, seconds=seconds, scale=scale, facts=facts[attack.needs])
        )
    return results


def _note_preparation(note: Callable[[str, int], None], needs: str, number: int, done: int) -> None:
    if done % PREPARED_PER_NOTE == 0:
        note(f"preparing {needs}: {done:,}", number)


async def _attack(
    exchange: OwnExchange, attack: Attack, *, seconds: float, scale: float, facts: dict[str, Any]
) -> Result:
    loop = asyncio.get_running_loop()
    memory: dict[str, float] = {}
    async with Honest(exchange.target) as honest:
        watching = asyncio.create_task(_watch_memory(exchange, memory))
        started = loop.time()
        await asyncio.sleep(BEFORE_SECONDS)
        struck = loop.time()
        counts = await _strike(exchange, attack, seconds=seconds, scale=scale, facts=facts)
        ended = loop.time()
        await asyncio.sleep(CALM_AGAIN_SECONDS + MEASURED_AFTER_SECONDS)
        over = loop.time()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    during = between(honest.orders, struck + attack.calm_after_seconds, ended)
    largest = max(memory, key=lambda name: memory[name], default="")
    return Result(
        name=attack.name,
        limits=attack.limits,
        p95_before=p95(between(honest.orders, started, struck)),
        p95_during=p95(during),
        p95_after=p95(between(honest.orders, ended + CALM_AGAIN_SECONDS, over)),
        cancels=len(honest.cancels),
        cancels_refused=refused(honest.cancels, "200"),
        orders_refused=refused(during, "201"),
        alive_max=max((sample.seconds for sample in honest.alive), default=float("inf")),
        largest_process=largest,
        largest_mib=memory.get(largest, 0.0),
        attackers=counts,
    )


async def _strike(
    exchange: OwnExchange, attack: Attack, *, seconds: float, scale: float, facts: dict[str, Any]
) -> dict[str, int]:
    """Run the attackers in a process of their own, and return what they have counted."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.strangers.attacker", exchange.target.url, attack.name),
        *(str(seconds), str(scale), json.dumps(facts)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds + ENDS_SECONDS_MAX):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    counts: dict[str, int] = json.loads(output)
    return counts


async def _watch_memory(exchange: OwnExchange, memory: dict[str, float]) -> None:
    """Keep the largest proportional share (PSS) of each part's largest process, in MiB."""
    while True:
        for name, mebibytes in await asyncio.to_thread(_process_mebibytes, exchange):
            memory[name] = max(memory.get(name, 0.0), mebibytes)
        await asyncio.sleep(MEMORY_SECONDS)


def _process_mebibytes(exchange: OwnExchange) -> list[tuple[str, float]]:
    found = []
    for process in exchange.process_ids():
        with contextlib.suppress(OSError, StopIteration):  # it has ended meanwhile
            command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            name = next((name for word, name in PARTS.items() if word in command), "others")
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            found.append((name, kibibytes / KIB_PER_MIB))
    return found
