"""The AsyncAPI document of /stream: each message that a client may send, and each that it may get.

The schemas of what the server sends come from the structs of the messages, and those of requests
from the serializers that check them. tests/contract/test_stream_schema.py holds the document
against the messages of a running exchange.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from marketdata import messages as market
from orders.reading import (
    amend_one,
    amend_orders,
    cancel_after,
    cancel_on_disconnect,
    cancel_one,
    cancel_orders,
    place_order,
    place_orders,
)
from streaming import messages as answers
from streaming.description import STREAM_EXAMPLES
from streaming.requests import ENTRY_KINDS, REQUESTS
from streaming.topics import Channel
from web.json_schema import json_schema
from web.schema import Schema, record

VERSION = "3.0.0"
_CHANNEL = "stream"
_SCHEMAS = "#/components/schemas/"

_ANY_ID: Schema = {"description": "any JSON; the result has it, too"}
# The further fields of each order, amend and cancel, and the struct of its result.
_ENTRY: dict[str, tuple[str, Schema, type[Struct]]] = {
    "place_order": (
        "Place an order",
        record({"order": place_order.described()}),
        answers.PlaceOrderResult,
    ),
    "place_orders": (
        "Place up to 100 orders",
        place_orders.described_with("orders", place_order.described()),
        answers.ManyResult,
    ),
    "amend_order": ("Amend an order", amend_one.described(), answers.OrderResult),
    "amend_orders": (
        "Amend up to 100 orders",
        amend_orders.described_with("amends", amend_one.described()),
        answers.ManyResult,
    ),
    "cancel_order": ("Cancel an order", cancel_one.described(), answers.OrderResult),
    "cancel_orders": (
        "Cancel several orders, or all of a client",
        cancel_orders.described(),
        answers.CancelOrdersResult,
    ),
    "cancel_after": ("Set a dead man's switch", cancel_after.described(), answers.CancelAfterResult),
    "cancel_on_disconnect": (
        "Let the end of the connection cancel a client's orders",
        cancel_on_disconnect.described(),
        answers.CancelOnDisconnectResult,
    ),
}
# The summary and the answer of each other request.
_OTHER: dict[str, tuple[str, type[Struct]]] = {
    "subscribe": ("Follow channels of instruments", answers.Subscribed),
    "unsubscribe": ("Stop following channels of instruments", answers.Unsubscribed),
    "ping": ("Ask for a pong", answers.Pong),
}
# What is sent to the followers of each channel.
_FOLLOWED: dict[Channel, tuple[type[Struct], ...]] = {
    Channel.ORDERBOOK_DELTAS: (market.OrderBookSnapshot, market.OrderBookDelta),
    Channel.TRADES: (market.TradeMessage,),
    Channel.ORDERS: (market.OrdersSnapshot, market.OrderUpdate),
    Channel.FILLS: (market.FillMessage,),
    Channel.QUOTES: (market.Quote,),
    Channel.TICKER: (market.Ticker,),
    Channel.CANDLES: (market.CandleMessage,),
    Channel.DEPTH: (market.Depth,),
}
_WITHOUT_REQUEST = (market.Heartbeat, market.Resumed, market.ErrorMessage)


class _Request(NamedTuple):
    """A message that the client sends. `answers` are the names of the messages that answer it."""

    summary: str
    payload: Schema
    answers: tuple[str, ...]


@functools.cache
def stream_document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    requests, sent = _requests(), _sent()
    structs = {name: struct for names in sent.values() for name, struct in names.items()}
    messages = {kind: _request_message(kind, request) for kind, request in requests.items()}
    messages |= {name: _sent_message(name, struct) for name, struct in structs.items()}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Tradepost /stream",
            "version": "1",
            "description": (
                "Text frames, one JSON object each. docs/api.md explains sequences, checksums and limits."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "exchange": {
                "host": "{host}",
                "protocol": "ws",
                "variables": {"host": {"default": "localhost:8000"}},
            }
        },
        "channels": {
            _CHANNEL: {
                "address": "/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            **{kind: _request_operation(kind, request) for kind, request in requests.items()},
            **{
                f"send_{name}": {"action": "send", **_in_channel(names)}
                for name, names in sent.items()
                if name != "answers"
            },
        },
        "components": {"messages": messages, "schemas": _schemas(structs.values())},
    }


def _requests() -> dict[str, _Request]:
    """Return all requests by their type. Raises KeyError if one is not described."""
    requests = {}
    for kind, (serializer, _) in REQUESTS.items():
        summary, answer = _OTHER[kind]
        requests[kind] = _Request(summary, _typed(kind, serializer.described()), (_name(answer), "error"))
    for kind in ENTRY_KINDS:
        summary, fields, result = _ENTRY[kind]
        payload = _typed(kind, fields, {"id": _ANY_ID})
        answered = (_name(result), _name(answers.RefusedResult), "error")
        requests[kind] = _Request(summary, payload, answered)
    return requests


def _sent() -> dict[str, dict[str, type[Struct]]]:
    """Return the structs of all messages that the server sends, by the name of the message."""
    answered = [answer for _, answer in _OTHER.values()]
    answered += [answers.RefusedResult, *(result for _, _, result in _ENTRY.values())]
    groups: dict[str, Iterable[type[Struct]]] = {
        "answers": answered,
        **{channel.value: followed for channel, followed in _FOLLOWED.items()},
        "notices": _WITHOUT_REQUEST,
    }
    return {group: {_name(struct): struct for struct in structs} for group, structs in groups.items()}


def _name(struct: type[Struct]) -> str:
    """Return a message's name: its type, or the name of the class if several have the type."""
    tag = str(struct.__struct_config__.tag)
    return struct.__name__ if tag == "result" else tag


def _request_message(kind: str, request: _Request) -> dict[str, Any]:
    examples = [{"payload": message} for message, _ in STREAM_EXAMPLES if message["type"] == kind]
    return {
        "name": kind,
        "summary": request.summary,
        "payload": request.payload,
        **({"examples": examples} if examples else {}),
    }


def _sent_message(name: str, struct: type[Struct]) -> dict[str, Any]:
    [summary, *_] = (struct.__doc__ or "").strip().split("\n")
    return {"name": name, "summary": summary, "payload": {"$ref": _SCHEMAS + _schema_name(struct.__name__)}}


def _request_operation(kind: str, request: _Request) -> dict[str, Any]:
    return {
        "action": "receive",
        "summary": request.summary,
        **_in_channel([kind]),
        "reply": _in_channel(request.answers),
    }


def _in_channel(names: Iterable[str]) -> dict[str, Any]:
    channel = f"#/channels/{_CHANNEL}"
    return {
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in names],
    }


def _typed(kind: str, fields: Schema, more: dict[str, Schema] | None = None) -> Schema:
    """Return the schema of a request: its fields, `type`, and the required fields in `more`."""
    first = {"type": {"const": kind}, **(more or {})}
    return {
        **json_schema(fields),
        "properties": {**first, **json_schema(fields)["properties"]},
        "required": [*first, *fields.get("required", ())],
    }


def _schemas(structs: Iterable[type[Struct]]) -> dict[str, Schema]:
    """Return the schemas of messages and of all documents in them. They allow no other fields."""
    template = f"{_SCHEMAS}{{name}}"
    _, found = msgspec.json.schema_components(set(structs), ref_template=template)
    return {_schema_name(name): _closed(json_schema(schema)) for name, schema in found.items()}


def _schema_name(struct: str) -> str:
    return struct.removesuffix("Document")


def _closed(schema: Schema) -> Schema:
    """Return the schema of a struct, which requires all fields but UNSET ones, and allows no others.

    msgspec does not require a field with a default, but it is sent, too. UNSET is no default.
    """
    if "properties" not in schema:  # An enumeration.
        return schema
    required = [
        name
        for name, field in schema["properties"].items()
        if name in schema["required"] or "default" in field
    ]
    return {**schema, "required": required, "additionalProperties": False}
