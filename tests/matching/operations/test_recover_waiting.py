"""`manage.py recover` shows waiting orders, and compares them with the live worker's."""

from io import StringIO

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import override_settings

from base.database import read_database
from orders.models import Order
from tests.matching.live import live_worker, run_scenario, submit
from tests.matching.partition import Partition, place, stop

pytestmark = pytest.mark.usefixtures("instruments")


def recover(*options: str) -> str:
    output = StringIO()
    call_command("recover", *options, stdout=output)
    return output.getvalue()


def test_waiting_orders_are_shown_by_what_they_wait_for() -> None:
    partition = Partition()
    partition.run(
        stop("buy", 120, 1),
        stop("buy", 130, 1),
        stop("sell", 130, 1, order_type="take_profit"),
        stop("sell", 80, 1),
        stop("sell", 90, 1),
        stop("sell", 90, 1),
        place("buy", 90, 1),
    )
    with override_settings(WORKER_BATCH_TRIGGERED_MAX=1):
        partition.run(place("sell", 90, 1))
    output = recover()
    btc, _ = output.split("ETH-USD")
    assert "  waiting     3 for higher prices, 1 for lower prices, 1 triggered\n" in btc
    assert "  waiting     0 for higher prices, 0 for lower prices, 0 triggered\n" in output
    assert "partition 0: 5 orders in 3 books" in output


@pytest.mark.usefixtures("redis")
def test_the_check_compares_waiting_orders() -> None:
    def change_trigger(steps: int) -> None:
        Order.objects.update(trigger_price=F("trigger_price") + steps)

    async def scenario() -> tuple[str, CommandError]:
        async with live_worker() as gateway:
            await submit(msgspec.structs.replace(stop("buy", 100, 4), reply_to=gateway.process_id))
            checked = await read_database(recover, "--check")
            await read_database(change_trigger, 1)
            with pytest.raises(CommandError) as failed:
                await read_database(recover, "--check")
            await read_database(change_trigger, -1)
            return checked, failed.value

    checked, failure = run_scenario(scenario())
    assert "partition 0: the live worker has the same books" in checked
    assert "BTC-USD: not the same orders at sequence 1" in str(failure)
