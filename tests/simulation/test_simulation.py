"""The promises hold in seeded runs with faults, which find every switched-off protection."""

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.seeds import find_first_breach, run_everywhere
from tests.simulation.world import simulate

SEEDS = 100
SEEDS_OF_LONG_TESTS = 2_000
CONTROL_SEEDS_MAX = 2_000
# Few seeds find these controls, so they run in `make test-long` only.
RARE = (
    "deferred commands loaded at a takeover",
    "position in the transaction",
    "chains loaded at a takeover",
    "expiries loaded at a takeover",
    "deadlines taken back after a refusal",
    "counts taken back after a refusal",
    "mirrors fenced",
    "an append is never repeated",
    "stream aligned with the position",
)


@pytest.mark.parametrize("seeds", [SEEDS, pytest.param(SEEDS_OF_LONG_TESTS, marks=pytest.mark.long)])
def test_no_run_breaks_a_promise(seeds: int) -> None:
    result = run_everywhere(0, seeds)
    assert result.found == []
    assert result.seeds == seeds
    # The runs had faults, and outcomes that the faults could have broken.
    assert result.faults > seeds
    assert result.acknowledged > 10 * seeds
    assert result.trades > seeds


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(control.name, marks=[pytest.mark.long] if control.name in RARE else [])
        for control in CONTROLS
    ],
)
def test_some_run_finds_each_protection_that_is_switched_off(name: str) -> None:
    assert find_first_breach(name, CONTROL_SEEDS_MAX) is not None


def test_a_seed_always_gives_the_same_run() -> None:
    for seed in range(20):
        assert simulate(seed) == simulate(seed)
