"""`manage.py audit` of the database: honest trading passes, and each known fault is found."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from django.test import override_settings

from instruments.directory import TradedInstrument
from matching.operations.audit.database import run_check
from matching.operations.audit.database_checks import DATABASE_CHECKS
from matching.operations.audit.results import BREACHES_LISTED_MAX
from orders.models import Order, OrderEvent, OrderStatus, Reason
from tests.engine.flows import SHAPES, Shape
from tests.matching.flows import InstructedFlow
from tests.matching.operations.honest import trade_at_random, trade_with_everything
from tests.matching.operations.tampering import Tampering
from tests.matching.operations.tamperings import TAMPERINGS
from tests.matching.partition import Partition

pytestmark = pytest.mark.usefixtures("instruments", "redis")

SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3))]
GUARDS = """
SELECT 'ALTER TABLE ' || conrelid::regclass || ' DROP CONSTRAINT ' || conname FROM pg_constraint
WHERE contype IN ('c', 'u') AND conrelid IN ('orders_order'::regclass, 'orders_trade'::regclass,
  'orders_orderevent'::regclass, 'marketdata_candle'::regclass)
UNION ALL
SELECT 'DROP INDEX order_idempotency_key'
"""


@pytest.fixture
def traded(instruments: dict[str, TradedInstrument]) -> None:
    """Leave orders of every status, every reason and every kind of event."""
    trade_with_everything()


def audit(*options: str) -> str:
    output = StringIO()
    call_command("audit", *options, stdout=output)
    return output.getvalue()


def find_breaches(cursor: CursorWrapper) -> dict[str, list[str]]:
    """Return the breaches by check, for the checks that find any."""
    results = [run_check(cursor, check) for check in DATABASE_CHECKS]
    return {result.name: result.breaches for result in results if result.breach_count}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_honest_trading_passes(shape: Shape) -> None:
    trade_at_random(Partition(), shape, seed=1)
    output = audit()
    assert "breach" not in output.replace("no breach in", "")
    assert f"no breach in {Order.objects.count()} orders" in output
    for check in DATABASE_CHECKS:
        assert f"{check.name:<12} ok " in output


@pytest.mark.parametrize("seed", SEEDS)
def test_honest_trading_with_instructions_passes(seed: int) -> None:
    partition = Partition()
    with override_settings(WORKER_BATCH_TRIGGERED_MAX=2, WORKER_BATCH_CANCELS_MAX=3, ORDER_TRADES_MAX=4):
        for now, commands in InstructedFlow(seed).segments(60, 20):
            partition.run_all(*commands, now=now, commands_max=7, reload=seed % 2 == 1)
    with connection.cursor() as cursor:
        assert find_breaches(cursor) == {}


def test_a_new_exchange_passes() -> None:
    assert "no breach in 0 orders, 0 trades" in audit()


@pytest.mark.usefixtures("traded")
def test_the_flow_to_tamper_with_has_every_status_reason_and_event() -> None:
    assert set(Order.objects.values_list("status", flat=True)) == {str(status) for status in OrderStatus}
    assert set(Order.objects.values_list("reason", flat=True)) == {None, *(str(reason) for reason in Reason)}
    assert set(OrderEvent.objects.values_list("kind", flat=True)) == {str(kind) for kind in OrderEvent.Kind}
    audit()


def test_every_fault_has_a_tampering() -> None:
    known = {(check.name, fault) for check in DATABASE_CHECKS for fault in check.faults}
    assert {(tampering.check, tampering.fault) for tampering in TAMPERINGS} == known


@pytest.mark.usefixtures("traded")
@pytest.mark.parametrize("check", [check.name for check in DATABASE_CHECKS])
def test_a_fault_is_found_only_by_its_checks(check: str) -> None:
    with connection.cursor() as cursor:
        assert find_breaches(cursor) == {}
    for tampering in TAMPERINGS:
        if tampering.check == check:
            found = breaches_after(tampering)
            assert found.keys() == {check, *tampering.also}, (tampering, found)
            assert any(tampering.fault in breach for breach in found[check]), (tampering, found)


def breaches_after(tampering: Tampering) -> dict[str, list[str]]:
    """Return the breaches that a tampering causes. It is taken back afterwards."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(GUARDS)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        for statement in tampering.statements:
            cursor.execute(statement)
            assert cursor.rowcount > 0, statement
        found = find_breaches(cursor)
        transaction.set_rollback(True)
    return found


@pytest.mark.usefixtures("traded")
def test_breaches_are_listed_up_to_a_limit_and_the_command_fails() -> None:
    orders = Order.objects.update(filled_notional=F("filled_notional") + 1)
    output = StringIO()
    with pytest.raises(CommandError, match=r"promises are broken: fills$") as failed:
        call_command("audit", stdout=output)
    assert failed.value.returncode == 1
    lines = output.getvalue().splitlines()
    assert any(line.startswith(f"fills        {orders} breaches ") for line in lines)
    listed = [line for line in lines if "its notional is not the sum of its trades" in line]
    assert len(listed) == BREACHES_LISTED_MAX
    assert f"  and {orders - BREACHES_LISTED_MAX} more" in lines
