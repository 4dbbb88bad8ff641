"""Rows as the commit sends them: one JSON array for each table, which PostgreSQL expands."""

from collections.abc import Mapping

import msgspec

Row = Mapping[str, object]  # by column; amounts are decimal text

encode_rows = msgspec.json.Encoder().encode
