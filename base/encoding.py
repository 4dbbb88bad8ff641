"""JSON out, through msgspec, for what is not a request: a worker needs no more, and no web framework for it."""

import msgspec

encode_json = msgspec.json.Encoder().encode
