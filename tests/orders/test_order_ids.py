"""Order ids name their instrument and client, and are UUIDs of version 7: unique, in order."""

from itertools import pairwise
from uuid import UUID

import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from instruments.directory import instrument_hint
from orders.order_ids import bucket_of, client_bucket, hint_of, new_order_id

IDS = 200_000


@given(st.integers(min_value=1, max_value=2**63 - 1), st.text(min_size=1, max_size=64))
def test_an_id_names_its_instrument_and_its_client(instrument_id: int, client_id: str) -> None:
    text = new_order_id(instrument_id=instrument_id, client_id=client_id)
    order_id = UUID(text)
    assert str(order_id) == text
    assert (order_id.version, order_id.variant) == (7, UUID(int=0, version=4).variant)
    assert hint_of(order_id) == instrument_hint(instrument_id) == instrument_id % 4096
    assert bucket_of(order_id) == client_bucket(client_id) < 2**20


def test_ids_are_unique_and_in_order() -> None:
    """Ids of one client and instrument differ in bits before the ones that are replaced."""
    ids = [new_order_id(instrument_id=1, client_id="client-A") for _ in range(IDS)]
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_the_bits_that_are_replaced_are_not_the_counter() -> None:
    """If the library moved its counter into the replaced bits, ids could collide."""
    ids = [uuid_utils.uuid7().int >> 32 for _ in range(IDS)]
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_clients_are_spread_over_the_buckets() -> None:
    buckets = {client_bucket(f"client-{number}") for number in range(1_000)}
    assert len(buckets) > 990
