"""Messages survive encoding and decoding unchanged. Invalid bytes are refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.messages import (
    CancelCommand,
    Command,
    InspectBooks,
    PlaceCommand,
    ReloadInstruments,
    Reply,
    ReplyKind,
    cancel_rate_key,
    decode_command,
    decode_replies,
    encode,
    heartbeat_key,
    rate_key,
    stream_key,
)

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
integers = st.integers(min_value=0, max_value=2**63 - 1)
commands = st.one_of(
    st.builds(
        PlaceCommand,
        order_id=texts,
        reply_to=texts,
        client_id=texts,
        instrument=texts,
        side=texts,
        order_type=texts,
        price_ticks=integers,
        quantity_lots=integers,
        idempotency_key=st.none() | texts,
        terms=st.none() | st.integers(-(2**63), 2**63 - 1),
    ),
    st.builds(
        CancelCommand,
        request_id=texts,
        reply_to=texts,
        client_id=texts,
        instrument=texts,
        order_id=texts,
        by_operator=st.booleans(),
    ),
    st.builds(ReloadInstruments, request_id=texts, reply_to=texts),
    st.builds(InspectBooks, request_id=texts, reply_to=texts),
)


@given(commands)
def test_an_encoded_command_decodes_to_itself(command: Command) -> None:
    assert decode_command(encode(command)) == command
    assert command.request_id == (
        command.order_id if isinstance(command, PlaceCommand) else command.request_id
    )


@given(
    st.lists(st.builds(Reply, request_id=texts, kind=st.sampled_from(ReplyKind), body=st.binary(max_size=99)))
)
def test_encoded_replies_decode_to_themselves(replies: list[Reply]) -> None:
    assert decode_replies(encode(replies)) == replies


def test_a_field_that_a_newer_sender_adds_is_ignored() -> None:
    """Thus workers can be restarted before or after API processes."""
    command = ReloadInstruments(request_id="a", reply_to="b")
    longer = [*msgspec.msgpack.decode(encode(command)), "a field of tomorrow"]
    assert decode_command(encode(longer)) == command


def test_a_cancel_of_an_older_sender_counts_as_a_clients() -> None:
    command = CancelCommand(request_id="a", reply_to="b", client_id="c", instrument="d", order_id="e")
    shorter = msgspec.msgpack.decode(encode(command))[:-1]
    assert decode_command(encode(shorter)) == command


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"text",
        encode([]),
        encode(["place"]),
        encode(["unknown", "a", "b"]),
        encode({"command": "place"}),
    ],
)
def test_an_invalid_command_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_command(payload)


def test_a_number_instead_of_text_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_command(encode(["reload", 1, "b"]))


def test_all_keys_of_a_partition_share_a_hash_tag() -> None:
    """They lie on one node of a Redis Cluster, as a script's keys must."""
    for key in (stream_key(7), heartbeat_key(7), rate_key(7, "client-A"), cancel_rate_key(7, 5)):
        assert "{7}" in key
