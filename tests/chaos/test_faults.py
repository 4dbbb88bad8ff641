"""The sequence of faults: reproducible, and each kind equally often."""

from itertools import islice

from chaos.faults import FAULTS, fault_sequence


def fault_names(seed: int, count: int) -> list[str]:
    return [fault.name for fault, _ in islice(fault_sequence(seed), count)]


def test_a_seed_gives_the_same_faults_with_the_same_details() -> None:
    first, second = (
        [(fault.name, random.random()) for fault, random in islice(fault_sequence(7), 40)] for _ in range(2)
    )
    assert first == second
    assert fault_names(7, 40) != fault_names(8, 40)


def test_every_kind_of_fault_comes_before_any_kind_is_repeated() -> None:
    kinds = {fault.name for fault in FAULTS}
    assert len(kinds) == len(FAULTS)
    found = fault_names(1, 3 * len(FAULTS))
    for start in range(0, len(found), len(FAULTS)):
        assert set(found[start : start + len(FAULTS)]) == kinds
