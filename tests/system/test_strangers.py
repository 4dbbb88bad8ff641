"""A short run of the attack tool: small attacks, judged by statuses, bounds and memory."""

import json
import subprocess
import sys
from pathlib import Path

from chaos.strangers.attacks import ATTACKS
from tests.environment import exchange_variables
from tests.system.exchange import ROOT

RUN_SECONDS_MAX = 1_200  # on a machine of any speed


def run_attacks(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos.strangers", *options, f"--results={folder / 'results'}"],
        cwd=ROOT,
        env=exchange_variables(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


def test_no_attack_stops_other_clients(tmp_path: Path) -> None:
    run = run_attacks(tmp_path, "--short")
    assert run.returncode == 0, run.stdout
    (report,) = tmp_path.glob("results/strangers-*/report.json")
    results = json.loads(report.read_text())
    assert [result["name"] for result in results] == [attack.name for attack in ATTACKS]
    for result, attack in zip(results, ATTACKS, strict=True):
        assert any(result["attackers"].get(sign) for sign in attack.signs), result


def test_an_unknown_attack_is_refused(tmp_path: Path) -> None:
    run = run_attacks(tmp_path, "--only=rain")
    assert run.returncode == 2
    assert "chaos.strangers: error: " in run.stdout
