"""The promises hold in 1,000 seeded runs with faults, which find every switched-off protection."""

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.seeds import find_first_breach, run_everywhere
from tests.simulation.world import simulate

SEEDS = 1_000
CONTROL_SEEDS_MAX = 2_000


def test_no_run_breaks_a_promise() -> None:
    result = run_everywhere(0, SEEDS)
    assert result.found == []
    assert result.seeds == SEEDS
    # The runs had faults, and outcomes that the faults could have broken.
    assert result.faults > SEEDS
    assert result.acknowledged > 10 * SEEDS
    assert result.trades > SEEDS


@pytest.mark.parametrize("name", [control.name for control in CONTROLS])
def test_some_run_finds_each_protection_that_is_switched_off(name: str) -> None:
    assert find_first_breach(name, CONTROL_SEEDS_MAX) is not None


def test_a_seed_always_gives_the_same_run() -> None:
    for seed in range(20):
        assert simulate(seed) == simulate(seed)
