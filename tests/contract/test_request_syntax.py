"""The edge: the syntax of requests on a connection, tested with raw sockets."""

import json

import pytest

from tests.contract.client import Client, order_body
from tests.contract.conftest import ON_UVICORN
from tests.contract.edge import CHUNKED, CLOSE, GET, POST, connect, listen, send_and_listen
from tests.system.exchange import RunningExchange

pytestmark = ON_UVICORN  # Daphne's server, Twisted, has other bounds and answers

MALFORMED = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: x\r\n\r\n",
    "two Hosts in 1.0": b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    "an invalid Host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Transfer-Encoding in 1.0": b"POST /orders HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, other order": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Content-Length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two Content-Lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a folded line": GET + b"n: a\r\n b\r\n\r\n",
    "space before the colon": GET + b"n : a\r\n\r\n",
    "space before the name": GET + b" n: a\r\n\r\n",
    "no colon": GET + b"n\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "NUL": GET + b"n: a\0b\r\n\r\n",
    "CR": GET + b"n: a\rb\r\n\r\n",
    "LF": GET + b"n: a\nb: c\n\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "RTSP": b"DESCRIBE / RTSP/1.0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n" + b"x" * 100,
    "lower case": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /instruments#top HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a chunk without its end": CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKED + b";\r\n{}\r\n0\r\n\r\n",
    "a chunk's sign": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk in LF": CHUNKED + b"2\n{}\n0\n\n",
    "an invalid trailer": CHUNKED + b"2\r\n{}\r\n0\r\nn\r\n\r\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_request_is_answered_once_and_the_connection_closed(
    exchange: RunningExchange, kind: str
) -> None:
    """A valid request that follows in the same packet is ignored."""
    received = send_and_listen(exchange.port, MALFORMED[kind], GET + b"\r\n", half_close=kind == "SSH")
    (answer,) = received.answers
    answer.error(400, "invalid_request")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"br, chunked", b"identity, chunked"])
def test_other_transfer_codings_are_refused(exchange: RunningExchange, coding: bytes) -> None:
    (answer,) = send_and_listen(
        exchange.port, POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
    ).answers
    answer.error(501, "not_implemented")


@pytest.mark.parametrize("expectation", [b"200-ok", b"100-continue, x", b""])
def test_other_expectations_are_refused(exchange: RunningExchange, expectation: bytes) -> None:
    (answer,) = send_and_listen(
        exchange.port, POST + b"Expect: " + expectation + b"\r\nContent-Length: 2\r\n\r\n{}"
    ).answers
    answer.error(417, "expectation_failed")


def test_100_continue_is_sent_if_the_body_is_wanted(exchange: RunningExchange) -> None:
    with connect(exchange.port) as connection:
        connection.sendall(POST + CLOSE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        (answer,) = listen(connection).answers
        answer.error(400, "invalid_request")


def test_100_continue_is_not_sent_for_a_body_that_is_refused(exchange: RunningExchange) -> None:
    received = send_and_listen(
        exchange.port, POST + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
    )
    (answer,) = received.answers
    answer.error(413, "payload_too_large")


def test_an_http_1_0_answer_has_no_chunks_and_closes_the_connection(exchange: RunningExchange) -> None:
    for path in (b"/instruments", b"/docs", b"/static/admin/css/base.css"):
        received = send_and_listen(exchange.port, b"GET " + path + b" HTTP/1.0\r\nHost: localhost\r\n\r\n")
        (answer,) = received.answers
        assert answer.status == 200
        assert "Transfer-Encoding" not in answer.headers
        assert received.closed


def test_an_offer_of_another_protocol_is_ignored(exchange: RunningExchange) -> None:
    """Java's client offers HTTP/2 with every request, also with one that has a body."""
    offer = b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n"
    (answer,) = send_and_listen(exchange.port, POST + offer + b"Content-Length: 2\r\n\r\n{}").answers
    assert answer.error(400, "invalid_request")["fields"]


def test_a_request_may_name_its_target_in_full(exchange: RunningExchange) -> None:
    request = b"GET http://x:80/trades?limit=1 HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"
    (answer,) = send_and_listen(exchange.port, request).answers
    assert answer.json.keys() == {"trades", "next_cursor"}


@pytest.mark.parametrize("requests", [1, 2, 30])
def test_a_client_that_sends_no_more_gets_its_answers(exchange: RunningExchange, requests: int) -> None:
    received = send_and_listen(exchange.port, (GET + b"\r\n") * requests, half_close=True)
    assert [answer.status for answer in received.answers] == [200] * requests
    assert received.closed


def test_an_order_of_a_client_that_sends_no_more_is_answered(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    received = send_and_listen(exchange.port, request, request, half_close=True)
    assert [answer.status for answer in received.answers] == [201, 201]
    assert client.book(instrument)["sequence"] == 2


@pytest.mark.parametrize(
    "part", [b"GET /instr", GET, POST + b"Content-Length: 9\r\n\r\n{", CHUNKED + b"5\r\n{"]
)
def test_half_a_request_is_refused_when_the_client_sends_no_more(
    exchange: RunningExchange, part: bytes
) -> None:
    received = send_and_listen(exchange.port, part, half_close=True)
    assert [answer.status for answer in received.answers] == [400]
    assert received.closed


def test_pipelined_requests_are_answered_in_order(exchange: RunningExchange) -> None:
    paths = [b"/instruments", b"/nothing", b"/trades", b"/orderbook?instrument=NO", b"/candles"] * 20
    requests = [b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths]
    received = send_and_listen(exchange.port, b"".join(requests) + b"BAD\r\n\r\n" + requests[0])
    assert [answer.status for answer in received.answers] == [200, 404, 200, 404, 200] * 20 + [400]
