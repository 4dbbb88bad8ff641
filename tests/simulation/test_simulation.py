"""The promises hold in 2,000 seeded runs full of faults; and each protection is missed where it is switched off."""

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.seeds import first_found, run_everywhere
from tests.simulation.world import simulate

SEEDS = 2_000


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
    assert first_found(name, SEEDS) is not None


def test_a_seed_is_the_same_run_every_time() -> None:
    for seed in range(20):
        assert simulate(seed) == simulate(seed)
