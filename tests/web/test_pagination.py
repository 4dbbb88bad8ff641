"""Cursors and limits of paginated lists."""

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from base.refusals import InvalidRequest
from web.pagination import CURSOR_CHARACTERS_MAX, CursorQuery, read_limit

ORDERS = CursorQuery("orders", client_id="a", instrument="BTC-USD", status=None)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_cursor_decodes_to_its_key(key: str) -> None:
    cursor = ORDERS.encode(key)
    assert ORDERS.decode(cursor, str) == key
    assert all(character.isalnum() or character in "-_" for character in cursor)


@pytest.mark.parametrize(
    "cursor", ["", "!", "a b", "AAAAA", "gICA", "\u00e9", "A" * 40, "A" * (CURSOR_CHARACTERS_MAX + 1), "MTAw"]
)
def test_an_invalid_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ORDERS.decode(cursor, str)
    assert "next_cursor" in refused.value.fields["cursor"][0]


@given(position=st.integers(0, 60), character=st.sampled_from("Aa0_-"))
def test_a_cursor_that_was_changed_is_refused(position: int, character: str) -> None:
    cursor = ORDERS.encode("01990000-0000-7000-8000-000000000000")
    changed = cursor[:position] + character + cursor[position + 1 :]
    if changed != cursor:
        with pytest.raises(InvalidRequest):
            ORDERS.decode(changed, str)


OTHER_QUERIES = [
    CursorQuery("trades", client_id="a", instrument="BTC-USD"),
    CursorQuery("orders", client_id="b", instrument="BTC-USD"),
    CursorQuery("orders", client_id="a", instrument="ETH-USD"),
    CursorQuery("orders", client_id="a", instrument="BTC-USD", status="open"),
    CursorQuery("orders", client_id="a"),
    CursorQuery("orders", instrument="a", client_id="BTC-USD"),
    CursorQuery("orders", client_id="a', 'instrument", instrument="BTC-USD"),
    CursorQuery("orders"),
]


@pytest.mark.parametrize("other", OTHER_QUERIES, ids=range(len(OTHER_QUERIES)))
def test_a_cursor_of_another_query_is_refused(other: CursorQuery) -> None:
    with pytest.raises(InvalidRequest):
        ORDERS.decode(other.encode("1"), str)
    with pytest.raises(InvalidRequest):
        other.decode(ORDERS.encode("1"), str)


def test_the_order_of_filters_and_empty_filters_do_not_matter() -> None:
    same = CursorQuery("orders", status=None, instrument="BTC-USD", client_id="a")
    assert same.decode(ORDERS.encode("1"), str) == "1"


@pytest.mark.parametrize("text", ["1", "50", "1000", "007"])
def test_limits_within_the_range_are_accepted(text: str) -> None:
    assert read_limit({"limit": text}) == int(text)


def test_a_missing_limit_is_the_default() -> None:
    assert read_limit({}) == settings.PAGE_ITEMS_DEFAULT
    assert read_limit({}, default=7) == 7


@pytest.mark.parametrize("text", ["", "0", "-1", "1001", "1.0", "1e2", "ten", " 1", "\u0661", "9" * 5000])
def test_the_refusal_of_an_invalid_limit_names_it(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_limit({"levels": text}, name="levels", maximum=1000)
    assert "1 to 1000" in refused.value.fields["levels"][0]
