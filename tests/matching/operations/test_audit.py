"""`manage.py audit` of the database: honest trading passes, and each known fault is found."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import msgspec
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
from orders.models import Order, OrderStatus, Reason
from tests.engine.flows import SHAPES, Shape
from tests.matching.operations.tampering import TAMPERINGS, Tampering
from tests.matching.partition import Partition, cancel, place, random_commands

pytestmark = pytest.mark.usefixtures("instruments", "redis")

STARTED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BATCH_TIME = timedelta(seconds=20)  # so that a candle has several batches
COMMANDS_PER_BATCH = 23
GUARDS = """
SELECT 'ALTER TABLE ' || conrelid::regclass || ' DROP CONSTRAINT ' || conname FROM pg_constraint
WHERE contype IN ('c', 'u') AND conrelid IN ('orders_order'::regclass, 'orders_trade'::regclass,
  'marketdata_candle'::regclass)
UNION ALL
SELECT 'DROP INDEX order_idempotency_key'
"""


def trade(partition: Partition, shape: Shape, seed: int) -> None:
    """Trade for some minutes in two books."""
    commands = list(random_commands(shape, seed=seed, commands=300))
    now = STARTED_AT
    for number in range(0, len(commands), COMMANDS_PER_BATCH):
        partition.run(*commands[number : number + COMMANDS_PER_BATCH], now=now)
        now += BATCH_TIME


@pytest.fixture
def traded(instruments: dict[str, TradedInstrument]) -> None:
    """Leave orders of every status and every reason in BTC-USD."""
    partition = Partition()
    early = place("sell", 100_000, 10**12)
    partition.run(early, now=STARTED_AT - BATCH_TIME)
    trade(partition, SHAPES[0], seed=5)
    partition.run(
        # The first order empties the bids. The second one finds none.
        *(place("sell", 0, 10**12) for _ in range(2)),
        *(place("buy", 900 - number, 5, idempotency_key=f"key-{number}") for number in range(4)),
        place("sell", 900, 9),  # trades, and then rests partially filled
        taken_off := place("buy", 800, 5),
        cancel(taken_off),
        by_operator := place("buy", 799, 5),
        cancel(by_operator),
        now=STARTED_AT + 100 * BATCH_TIME,
    )
    Order.objects.filter(order_id=by_operator.order_id).update(reason=Reason.OPERATOR)
    market = partition.books["BTC-USD"]
    with override_settings(ORDER_TRADES_MAX=1):
        partition.run(place("sell", 897, 8))
    with override_settings(BOOK_LEVELS_PER_SIDE_MAX=1):
        partition.run(place("buy", 850, 5))
    with override_settings(INSTRUMENT_OPEN_ORDERS_MAX=1):
        partition.run(place("buy", 850, 5))
    market.instrument = msgspec.structs.replace(market.instrument, halted=True)
    partition.run(place("buy", 900, 5), place("sell", 900, 5))


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
    trade(Partition(), shape, seed=1)
    output = audit()
    assert "breach" not in output.replace("no breach in", "")
    assert f"no breach in {Order.objects.count()} orders" in output
    for check in DATABASE_CHECKS:
        assert f"{check.name:<12} ok " in output


def test_a_new_exchange_passes() -> None:
    assert "no breach in 0 orders, 0 trades" in audit()


@pytest.mark.usefixtures("traded")
def test_the_flow_to_tamper_with_has_every_status_and_reason() -> None:
    assert set(Order.objects.values_list("status", flat=True)) == {str(status) for status in OrderStatus}
    assert set(Order.objects.values_list("reason", flat=True)) == {None, *(str(reason) for reason in Reason)}
    audit()


def test_every_fault_has_a_tampering() -> None:
    known = {(check.name, fault) for check in DATABASE_CHECKS for fault in check.faults}
    assert {(tampering.check, tampering.fault) for tampering in TAMPERINGS} == known


@pytest.mark.usefixtures("traded")
@pytest.mark.parametrize(
    "tampering", TAMPERINGS, ids=lambda tampering: f"{tampering.check}-{tampering.fault}"
)
def test_a_fault_is_found_only_by_its_checks(tampering: Tampering) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(GUARDS)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        assert find_breaches(cursor) == {}
        for statement in tampering.statements:
            cursor.execute(statement)
            assert cursor.rowcount > 0, statement
        found = find_breaches(cursor)
        transaction.set_rollback(True)
    assert found.keys() == {tampering.check, *tampering.also}
    assert any(tampering.fault in breach for breach in found[tampering.check])


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
