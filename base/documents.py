"""Types for the fields of JSON documents, with the JSON schemas that describe them.

msgspec encodes the documents and makes their OpenAPI schemas from the same structs.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Raw


def described(**schema: Any) -> Meta:
    """Return an annotation that adds these keywords to a field's JSON schema."""
    return Meta(extra_json_schema=schema)


def one_of(values: Iterable[str]) -> Meta:
    return described(enum=list(values))


# A JSON number that is written digit for digit. Floats are never used.
Number = Annotated[Raw, described(type="number", description="an exact decimal")]
Count = Annotated[int, Meta(ge=0)]
UuidText = Annotated[str, described(format="uuid")]
TimeText = Annotated[
    str,
    described(
        format="date-time",
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
        example="2026-01-31T12:00:00.123Z",
    ),
]
