"""The promises hold in 1,000 seeded runs full of faults. If a protection is switched off, the runs find it."""

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.seeds import first_found, run_everywhere
from tests.simulation.world import simulate

SEEDS = 1_000
CONTROL_SEEDS_MAX = 2_000


def test_no_promise_is_broken() -> None:
    result = run_everywhere(0, SEEDS)
    assert result.found == []
    assert result.seeds == SEEDS
    # There was something to break, and something that broke.
    assert result.faults > SEEDS
    assert result.acknowledged > 10 * SEEDS
    assert result.trades > SEEDS


@pytest.mark.parametrize("name", [control.name for control in CONTROLS])
def test_each_protection_is_missed_where_it_is_switched_off(name: str) -> None:
    assert first_found(name, CONTROL_SEEDS_MAX) is not None


def test_a_seed_is_the_same_run_every_time() -> None:
    for seed in range(20):
        assert simulate(seed) == simulate(seed)
