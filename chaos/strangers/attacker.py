"""The attackers' process: `python -m chaos.strangers.attacker URL NAME SECONDS SCALE FACTS`.

FACTS is JSON from the preparation. The process prints its counts as JSON, and ends by itself.
"""

import asyncio
import contextlib
import json
import resource
import sys
from collections import Counter

import uvloop

from chaos.strangers.attacks import ATTACKS
from chaos.strangers.stage import Stage
from loadtools.wire import loopback_target

_OVERTIME_SECONDS = 5.0  # Additional time for the last answers.
_REPEATED_SECONDS_MAX = 16.0  # An attack without a sign is not repeated for longer than this.


async def _run_attack(url: str, name: str, seconds: float, scale: float, facts: str) -> dict[str, int]:
    """Run one attack and return its counts.

    On a slow machine a short attack may end before one of its signs shows. It is then repeated,
    each time for twice as long.
    """
    attack = next(attack for attack in ATTACKS if attack.name == name)
    counts: Counter[str] = Counter()
    while True:
        stage = Stage(loopback_target(url), seconds=seconds, scale=scale, facts=json.loads(facts))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds + _OVERTIME_SECONDS):
                await attack.strike(stage)
        counts += stage.counts
        seconds *= 2
        if any(counts[sign] for sign in attack.signs) or seconds > _REPEATED_SECONDS_MAX:
            return dict(counts)


def main() -> None:
    _, url, name, seconds, scale, facts = sys.argv
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = uvloop.run(_run_attack(url, name, float(seconds), float(scale), facts))
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
