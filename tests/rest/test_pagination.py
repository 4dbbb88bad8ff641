"""Cursors and limits of lists."""

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from rest.exceptions import InvalidRequest
from rest.pagination import CURSOR_CHARACTERS_MAX, decode_cursor, encode_cursor, read_limit


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_cursor_gives_its_key_back(key: str) -> None:
    cursor = encode_cursor(key)
    assert decode_cursor(cursor) == key
    assert all(character.isalnum() or character in "-_" for character in cursor)


@pytest.mark.parametrize("cursor", ["!", "a b", "AAAAA", "gICA", "\u00e9", "A" * (CURSOR_CHARACTERS_MAX + 1)])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_cursor(cursor)
    assert "next_cursor" in refused.value.fields["cursor"][0]


@pytest.mark.parametrize("text", ["1", "50", "1000", "007"])
def test_limits_within_the_range_are_taken(text: str) -> None:
    assert read_limit({"limit": text}) == int(text)


def test_without_a_limit_the_default_holds() -> None:
    assert read_limit({}) == settings.PAGE_ITEMS_DEFAULT
    assert read_limit({}, default=7) == 7


@pytest.mark.parametrize("text", ["", "0", "-1", "1001", "1.0", "1e2", "ten", " 1", "\u0661", "9" * 5000])
def test_other_limits_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_limit({"levels": text}, name="levels", maximum=1000)
    assert "1 to 1000" in refused.value.fields["levels"][0]
