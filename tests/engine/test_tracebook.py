"""The engine conforms to `tracebook-conformance`, a suite of another author: see docs/orders.md."""

from pathlib import Path

import pytest
from tracebook.conformance import copy_bundled_conformance_suite, run_conformance, run_qualification
from tracebook.conformance.qualification import qualification_case_names
from tracebook.events import MarketEvent

from matching.engine import Event, OrderBook
from matching.engine.level import QueuedOrder
from tests.engine.tracebook_adapter import EngineAdapter, enter_again

PROFILE = "fifo-full-v1"
SEED = 42
TRACES = 5
EVENTS_PER_TRACE = 180  # the suite's probes of priority come by event 175
PREVENTION_CASES = ("stp-cancel-resting", "stp-cancel-resting-deep", "stp-cancel-incoming")
NOT_OURS = ("pro-rata-allocation",)


def test_the_engine_qualifies_for_the_full_profile() -> None:
    result = run_qualification(
        EngineAdapter, PROFILE, seed=SEED, traces=TRACES, events_per_trace=EVENTS_PER_TRACE
    )
    assert result.campaign.failure is None
    assert result.qualified
    assert result.fixed_cases_passed == len(result.selected_cases) == 5
    assert len(result.campaign.traces) == TRACES


@pytest.mark.parametrize("name", PREVENTION_CASES)
def test_the_engine_passes_the_cases_of_self_trade_prevention(tmp_path: Path, name: str) -> None:
    suite = copy_bundled_conformance_suite(tmp_path / "suite")
    case = next(case for case in suite.cases if case.name == name)
    report = run_conformance(case.load_events(), EngineAdapter, config=case.config)
    assert report.divergence is None
    assert report.conformant


def test_all_cases_of_the_suite_are_known(tmp_path: Path) -> None:
    suite = copy_bundled_conformance_suite(tmp_path / "suite")
    known = {*qualification_case_names(PROFILE), *PREVENTION_CASES, *NOT_OURS}
    assert {case.name for case in suite.cases} == known


class AdapterThatLosesPriority(EngineAdapter):
    """Lets a reduced order enter again, as a faulty engine might do."""

    def _reduce(self, book: OrderBook, queued: QueuedOrder, event: MarketEvent) -> list[Event]:
        events = super()._reduce(book, queued, event)
        left = book._orders.get(queued.order.order_id)
        return events if left is None else events + enter_again(book, left, left.remaining_lots)


def test_the_suite_finds_a_fault() -> None:
    result = run_qualification(
        AdapterThatLosesPriority,
        PROFILE,
        seed=SEED,
        traces=1,
        events_per_trace=EVENTS_PER_TRACE,
        max_minimize_runs=1,
    )
    assert result.campaign.failure is not None
    assert not result.qualified
