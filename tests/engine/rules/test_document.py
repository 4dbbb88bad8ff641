"""docs/orders.md: each of its rules has a test with its number, here or in ELSEWHERE."""

import re
from pathlib import Path

from matching.engine import CancelReason, RejectReason

_API, _BATCH = "tests/contract/", "tests/matching/batch/"
_TAKEOVER = (
    "tests/matching/commit/test_instructed_flows.py"
    "::test_a_takeover_between_any_two_batches_makes_no_difference"
)
_DUE = _BATCH + "instructions/test_deadlines.py::test_orders_expire_before_the_commands_of_a_batch"
_HALT = _API + "test_triggers.py::test_what_goes_on_during_a_halt_and_after_it"
_SWITCH = _API + "test_mass_cancels.py::test_a_switch_that_runs_out_cancels_all_orders_and_disarms_itself"

# The rules that the API or the worker decides, with their tests.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "P5": (_API + "test_orders.py::test_an_order_with_an_invalid_field_is_refused",),
    "F8": (_API + "test_instructions.py::test_every_combination_of_instructions_is_taken_or_refused",),
    "S11": (
        _API + "test_instructions.py::test_the_instruments_default_applies_to_orders_that_name_no_prevention",
    ),
    "A20": (_API + "test_amends.py::test_invalid_values_are_refused_before_the_orders_state_is_looked_at",),
    "C5": (
        _API + "test_mass_cancels.py::test_all_orders_of_a_client_are_cancelled",
        _BATCH + "test_pieces.py::test_others_orders_come_between_the_pieces_of_a_mass_cancel",
        "tests/matching/test_mass_cancels.py::test_all_partitions_cancel_the_orders_of_a_client",
    ),
    "E1": (_DUE,),
    "E2": (_DUE,),
    "E3": (_BATCH + "instructions/test_deadlines.py::test_due_work_is_done_in_the_order_of_its_times",),
    "E4": (_API + "test_triggers.py::test_an_order_expires_by_itself_and_keeps_its_fills", _TAKEOVER),
    "E5": (
        _BATCH + "instructions/test_deadlines.py::test_an_order_that_arrives_after_its_time_never_trades",
    ),
    "E6": (_API + "test_instructions.py::test_instructions_that_do_not_fit_are_named",),
    "D1": (_SWITCH,),
    "D2": (_API + "test_mass_cancels.py::test_a_switch_that_is_set_again_or_disarmed_does_not_run_out",),
    "D3": (_SWITCH,),
    "D4": (_TAKEOVER,),
    "D5": (_API + "test_stream_guards.py::test_all_orders_of_the_client_end_with_the_connection",),
    "D6": (_BATCH + "test_guards.py::test_no_command_of_a_connection_is_carried_out_after_the_end",),
    "D7": (_API + "test_stream_guards.py::test_each_connection_of_a_client_has_a_guard_of_its_own",),
    "D8": (_API + "test_stream_guards.py::test_a_client_that_is_not_guarded_any_more_keeps_its_orders",),
    "D9": (_BATCH + "test_guards.py::test_guards_outlive_the_worker",),
    "H1": (_HALT, _API + "test_orders.py::test_an_order_is_rejected_if_only_the_worker_knows_of_a_halt"),
    "H3": (_HALT,),
    "H4": (_HALT,),
    "B5": (
        _API + "test_bounds.py::test_orders_of_a_client_with_too_many_open_orders_are_rejected",
        _API + "test_triggers.py::test_waiting_orders_have_a_bound_of_their_own",
    ),
    "B6": (_BATCH + "test_bounds.py::test_a_side_has_a_limit_of_levels_and_some_more_for_better_prices",),
    "B8": (_API + "test_fills.py::test_an_order_shows_its_last_thousand_trades_and_the_list_of_fills_all",),
    "B9": (_BATCH + "instructions/test_amends.py::test_an_amend_may_not_open_a_level_beyond_the_limit",),
}

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "orders.md"


def test_each_rule_has_a_test_or_is_listed_as_tested_elsewhere() -> None:
    numbers = re.findall(r"^\| ([A-Z]\d+) \|", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert len(numbers) == len(set(numbers)) > 80
    tested: set[str] = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for named in re.findall(r"^def test_((?:[a-z]\d+_)+)", file.read_text(), flags=re.MULTILINE):
            tested |= {number.upper() for number in named.rstrip("_").split("_")}
    assert tested & set(ELSEWHERE) == set()
    assert tested | set(ELSEWHERE) == set(numbers)


def test_the_tests_elsewhere_exist() -> None:
    for file, _, function in {test.partition("::") for tests in ELSEWHERE.values() for test in tests}:
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(), flags=re.MULTILINE), (
            function
        )


def test_the_document_has_each_reason_and_refers_to_rules_that_exist() -> None:
    text = DOCUMENT.read_text()
    _, _, section = text.partition("## Reasons")
    rows = re.findall(r"^\| (`.*`) \| .* \| (.*) \|$", section, flags=re.MULTILINE)
    reasons = {reason for names, _ in rows for reason in re.findall(r"`(\w+)`", names)}
    refusals = {RejectReason.WOULD_CROSS, RejectReason.WOULD_TRIGGER, RejectReason.INSTRUMENT_HALTED}
    assert reasons == {*map(str, CancelReason), *map(str, refusals)}
    numbers = set(re.findall(r"^\| ([A-Z]\d+) \|", text, flags=re.MULTILINE))
    assert set(re.findall(r"\b([A-Z]\d+)\b", text)) <= numbers
