"""Decoding of clients' messages: which are refused, and with what text."""

from decimal import Decimal

import pytest

from streaming.requests import InvalidMessage, Ping, decode_request

SUBSCRIBE = '{"type":"subscribe","channels":["trades"]'

CHANNELS = "orderbook_deltas, trades, orders, fills, quotes, ticker, candles, depth"


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","type":"ping"}',
        '{"type":"ping","id":1,"id":2}',
        '{"type":"ping","id":{"a":1,"a":1}}',
        '{"type":"ping","id":[{"b":{"a":1,"\\u0061":2}}]}',
        SUBSCRIBE + ',"channels":["trades"]}',
        '{"instrument":"BTC-USD",' + SUBSCRIBE[1:] + ',"instrument":"ETH-USD"}',
        '{"type":"subscribe","channels":["orders"],"client_id":"a","client_id":"victim"}',
        '{"type":"unsubscribe","channels":["trades"],"type":"subscribe"}',
    ],
)
def test_a_repeated_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode_request(text)
    assert refused.value.code == "invalid_json"


@pytest.mark.parametrize("text", ['{"type":"no","id":[7]}', '{"id":[7]}', SUBSCRIBE + ',"id":[7]}'])
def test_a_refusal_has_the_id_of_its_message(text: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode_request(text)
    assert refused.value.echoed == {"id": [7]}


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ('{"type":"place_order","id":2,"order":{"side":"buy","side":"sell"}}', 2),
        ('{"type":"place_order","id":"two","order":{"price":NaN}}', "two"),
        ('{"type":"ping","id":1.10,"type":"ping"}', Decimal("1.10")),
        ('{"type":"ping","id":null,"type":"ping"}', None),
    ],
)
def test_a_message_that_is_refused_as_a_whole_keeps_its_id(text: str, identity: object) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode_request(text)
    assert (refused.value.code, refused.value.echoed) == ("invalid_json", {"id": identity})
    assert str(refused.value.echoed["id"]) == str(identity)


@pytest.mark.parametrize(
    "text",
    [
        *('{"type":"no"}', "[]", '"id"', "[" * 5_000, '[["id",1]', '{"id":1,"type":"ping"'),
        *('{"type":"ping","id":1,"id":1}', '{"type":"ping","id":[1],"type":"ping"}', '[["id",1],NaN]'),
        '{"type":"ping","id":%s,"type":"ping"}' % ("9" * 5_000),
        '{"type":"ping","id":"\\ud800","type":"ping"}',
    ],
)
def test_a_refusal_without_an_id_has_none(text: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode_request(text)
    assert refused.value.echoed == {}


def test_the_same_key_in_two_objects_is_no_repetition() -> None:
    request = decode_request('{"type":"ping","id":[{"type":1},{"type":2},"\\":\\""]}')
    assert isinstance(request, Ping)
    assert request.id == [{"type": 1}, {"type": 2}, '":"']


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "subscribe, unsubscribe, ping"),
        ('{"type":"no"}', "subscribe, unsubscribe, ping"),
        ('{"type":1}', "subscribe, unsubscribe, ping"),
        ("{}", "subscribe, unsubscribe, ping"),
        ('{"type":"subscribe"}', CHANNELS),
        (
            '{"type":"subscribe","channels":["no"]}',
            CHANNELS,
        ),
        (
            '{"type":"subscribe","channels":[1]}',
            CHANNELS,
        ),
        (SUBSCRIBE + ',"interval":"2m"}', "1m, 5m, 15m, 1h, 4h, 1d"),
        (SUBSCRIBE + ',"interval":""}', "1m, 5m, 15m, 1h, 4h, 1d"),
        (SUBSCRIBE + ',"throttle_ms":-1}', "0 to 60000"),
        (SUBSCRIBE + ',"client_id":"a b"}', "A-Z a-z 0-9"),
        (SUBSCRIBE + ',"instrument":["BTC-USD",1]}', "a list of 1 to 100 symbols"),
        (SUBSCRIBE + ',"symbol":"BTC-USD"}', "symbol: Unknown field."),
    ],
)
def test_a_refusal_lists_the_allowed_values(text: str, expected: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode_request(text)
    assert refused.value.code == "invalid_message"
    assert expected in str(refused.value)
    assert "`" not in str(refused.value)
