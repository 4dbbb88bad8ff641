"""Encodes JSON with msgspec. Workers import this module, and need no web framework for it."""

import msgspec

encode_json = msgspec.json.Encoder().encode
