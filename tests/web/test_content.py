"""Decoding of clients' JSON: exact numbers, no repeated keys, and error messages of our own."""

import json
import re
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.refusals import InvalidRequest
from web.content import decode_json

LIBRARY_WORDS = re.compile(r"class|decimal|codec|byte|recursion|utf-8'|truncated|malformed|Error|Traceback")

REPEATED = {
    "flat": (b'{"a":1,"a":1}', "a"),
    "the same value": (b'{"a":null,"b":2,"a":null}', "a"),
    "escaped": (b'{"client_id":"a","client\\u005fid":"b"}', "client_id"),
    "escaped in capitals": (b'{"client\\u005Fid":"a","client_id":"b"}', "client_id"),
    "a pair of surrogates": ('{"💥":1,"\\ud83d\\udca5":2}'.encode(), "💥"),
    "in a list": (b'[{"a":1},{"b":1,"b":2}]', "b"),
    "deep": (b'{"a":{"b":[{"c":{"d":1,"d":2}}]}}', "d"),
    "far from each other": (b'{"a":1,' + b",".join(b'"%d":1' % n for n in range(5_000)) + b',"a":2}', "a"),
    "empty": (b'{"":1,"":2}', "body"),
    "beside colons in texts": (b'{"a":"x:y","b":":","b":1}', "b"),
    "with spaces": (b'{ "a" : 1 ,\n\t"a" : 2 }', "a"),
    "long": (b'{"' + b"k" * 900 + b'":1,"' + b"k" * 900 + b'":2}', "k" * 64),
}


@pytest.mark.parametrize("name", REPEATED)
def test_the_refusal_of_a_repeated_key_names_it(name: str) -> None:
    text, key = REPEATED[name]
    with pytest.raises(InvalidRequest) as refused:
        decode_json(text)
    assert refused.value.fields == {key: ["Given more than once."]}


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":{"a":{"a":1}}}',
        b'[{"a":1},{"a":1}]',
        b'{"a":"a","b":"a:b:c"}',
        b'{"A":1,"a":1}',
        b'{"a":1,"a ":1}',
        b'"a:b"',
        b"{}",
        b'{"time":"2026-01-31T12:00:00Z","n":123456789012345678901234567890,"e":1e400}',
    ],
)
def test_equal_keys_of_different_objects_are_accepted(text: bytes) -> None:
    assert decode_json(text) == json.loads(text, parse_float=Decimal)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(st.sampled_from('a:"\\{},é💥')),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


def with_a_repeated_key(value: Any) -> str:
    """Return an object that has the value, and one key twice."""
    text = json.dumps(value)
    return f'{{"x":{text},"y":{text},"x":{text}}}'


@given(value=VALUES, ascii_only=st.booleans())
def test_json_is_read_exactly_and_refused_only_with_a_repeated_key(value: Any, ascii_only: bool) -> None:
    assert decode_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
    with pytest.raises(InvalidRequest):
        decode_json(with_a_repeated_key(value).encode())


INVALID = [
    *(
        b"",
        b" ",
        b"NaN",
        b"-Infinity",
        b"nul",
        b"-",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"'a'",
        b"{}x",
        b"{}{}",
        b"\x00",
    ),
    *(b'{"a":1,}', b'{"a"', b'{"a":', b"[1,", b"{1:2}", b'{"a":1 "b":2}', b'"a\nb"', b'"\\x"', b'"\\u12"'),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xed\xa0\x80"', b'"\xc3("', b'{"\xff":1}', b"\xef\xbb\xbf{}"),
    *(b"1e99999999999999999999", b'{"a":-1e-99999999999999999999}', b"9" * 5_000, b"-" + b"9" * 60_000),
    *(b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 60_000),
    *('{"a":1}'.encode(encoding) for encoding in ("utf-16", "utf-16-le", "utf-32")),
]


@pytest.mark.parametrize("text", INVALID, ids=range(len(INVALID)))
def test_the_refusal_of_invalid_json_has_no_words_of_the_library(text: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_json(text)
    message = refused.value.message
    assert message.startswith("The body is not valid JSON: ")
    assert not LIBRARY_WORDS.search(message)
    assert len(message) < 200


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"a":1,}', "line 1, column 8"),
        (b'{\n  "a": 1,\n  "b": x\n}', "line 3, column 8"),
        (b"?", "line 1, column 1"),
    ],
)
def test_the_refusal_of_invalid_json_names_line_and_column(text: bytes, place: str) -> None:
    with pytest.raises(InvalidRequest, match=place):
        decode_json(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"' + b":" * 65_000 + b'"}',
        b"[" + b",".join([b'{"a":1e999999999}'] * 3_000) + b"]",
        b"{" + b",".join(b'"%d":{"%d":1}' % (n, n) for n in range(3_000)) + b"}",
    ],
)
def test_the_search_for_repeated_keys_takes_bounded_memory(text: bytes) -> None:
    tracemalloc.start()
    try:
        decode_json(text)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
