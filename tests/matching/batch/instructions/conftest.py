"""Fixtures: a partition whose rows are checked at the end, and a way to run commands in it."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from instruments.directory import TradedInstrument
from matching.batch.batch import Batch
from matching.recovery import load_partition
from orders.messages import Command
from tests.matching.batch.instructions.rows import Run
from tests.matching.explained import unexplained
from tests.matching.flows import STARTED_AT
from tests.matching.partition import Partition, contents


@pytest.fixture(params=["one batch", "a batch each"])
def together(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "one batch")


@pytest.fixture
def partition(instruments: dict[str, TradedInstrument]) -> Iterator[Partition]:
    """Yield partition 0. At the end, what is stored must explain the books and give them again."""
    partition = Partition()
    yield partition
    assert contents(load_partition(0)) == contents(partition.state)
    assert unexplained("BTC-USD") == {}


@pytest.fixture
def run(partition: Partition, together: bool) -> Run:
    def run(*commands: Command, now: datetime = STARTED_AT) -> list[Batch]:
        batches = partition.run_all(*commands, now=now, commands_max=256 if together else 1)
        return [batch for batch, _ in batches]

    return run
