"""Runs the attacks one after the other, and measures the honest client around each."""

import asyncio
import contextlib
import functools
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from chaos.parts import MANAGE_PY
from chaos.strangers.attacks import Attack
from chaos.strangers.honest import Honest
from chaos.strangers.prepare import prepare
from chaos.strangers.subscribers import subscribe
from chaos.strangers.verdict import CALM_AGAIN_SECONDS, Result, between, p95, refused
from loadtools.exchange import OwnExchange
from loadtools.processes import mebibytes, part_of
from loadtools.tasks import run_beside

_MEMORY_SECONDS = 0.5
_ENDS_SECONDS_MAX = 90.0  # Additional time in which the attackers' process must end.


class AttackPlan(NamedTuple):
    """The length of each phase in seconds. A `scale` of 1 is the full size of the attacks.

    The last phase begins CALM_AGAIN_SECONDS after an attack's end, or at once if `timed` is False.
    """

    before: float
    attack: float
    after: float
    scale: float
    timed: bool

    @property
    def pause(self) -> float:
        """Seconds between an attack's end and the last phase."""
        return CALM_AGAIN_SECONDS if self.timed else 0.0


def full_plan(seconds: float, scale: float) -> AttackPlan:
    """Return a plan that is long enough for the latencies to count."""
    return AttackPlan(before=3.0, attack=seconds, after=2.0, scale=scale, timed=True)


SHORT_PLAN = AttackPlan(before=0.1, attack=0.5, after=0.1, scale=0.1, timed=False)

_PREPARED_PER_NOTE = 1_000


async def attack_all(
    exchange: OwnExchange,
    attacks: Sequence[Attack],
    plan: AttackPlan,
    note: Callable[[str, int], None],
) -> list[Result]:
    """Run the attacks. `note` receives the current step and the number of finished attacks."""
    results = []
    facts: dict[str, dict[str, Any]] = {}
    for number, attack in enumerate(attacks):
        if attack.needs not in facts:
            show = functools.partial(_note_preparation, note, attack.needs, number)
            facts[attack.needs] = await prepare(exchange.target, attack.needs, plan.scale, show)
        note(attack.name, number)
        results.append(await _measure_attack(exchange, attack, plan, facts[attack.needs]))
    return results


def _note_preparation(note: Callable[[str, int], None], needs: str, number: int, done: int) -> None:
    if done % _PREPARED_PER_NOTE == 0:
        note(f"preparing {needs}: {done:,}", number)


async def _measure_attack(
    exchange: OwnExchange, attack: Attack, plan: AttackPlan, facts: dict[str, Any]
) -> Result:
    loop = asyncio.get_running_loop()
    memory: dict[str, float] = {}
    async with (
        Honest(exchange.target) as honest,
        subscribe(exchange.target) as subscribers,
        run_beside(_watch_memory(exchange, memory)),
    ):
        started = loop.time()
        await asyncio.sleep(plan.before)
        struck = loop.time()
        counts = await _run_attackers(exchange, attack, plan, facts)
        ended = loop.time()
        await asyncio.sleep(plan.pause + plan.after)
        over = loop.time()
    during = between(honest.orders, struck + attack.excused_seconds, ended)
    largest = max(memory, key=lambda name: memory[name], default="")
    return Result(
        name=attack.name,
        limits=attack.limits,
        p95_before=p95(between(honest.orders, started, struck)),
        p95_during=p95(during),
        p95_after=p95(between(honest.orders, ended + plan.pause, over)),
        cancels=len(honest.cancels),
        cancels_refused=refused(honest.cancels, "200"),
        orders_refused=refused(during, "201"),
        alive_max=max((sample.seconds for sample in honest.alive), default=float("inf")),
        subscribers_lost=subscribers.lost,
        largest_process=largest,
        largest_mib=memory.get(largest, 0.0),
        attackers=counts,
    )


async def _run_attackers(
    exchange: OwnExchange, attack: Attack, plan: AttackPlan, facts: dict[str, Any]
) -> dict[str, int]:
    """Run the attackers in a process of their own, and return their counts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.strangers.attacker", exchange.target.url, attack.name),
        *(str(plan.attack), str(plan.scale), json.dumps(facts)),
        cwd=MANAGE_PY.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(plan.attack + _ENDS_SECONDS_MAX):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    counts: dict[str, int] = json.loads(output)
    return counts


async def _watch_memory(exchange: OwnExchange, memory: dict[str, float]) -> None:
    """Record the peak memory of each part's largest process: its PSS in MiB."""
    while True:
        for name, size in await asyncio.to_thread(_process_mebibytes, exchange):
            memory[name] = max(memory.get(name, 0.0), size)
        await asyncio.sleep(_MEMORY_SECONDS)


def _process_mebibytes(exchange: OwnExchange) -> list[tuple[str, float]]:
    found = []
    for process in exchange.process_ids():
        with contextlib.suppress(OSError):  # The process has ended.
            found.append((part_of(process), mebibytes(process)))
    return found
