"""Keyset pages: a cursor is the sort key of the last item shown, so page 1,000 costs what page 1 costs."""

import base64
import binascii
from collections.abc import Mapping

from django.conf import settings

from rest.exceptions import InvalidRequest

CURSOR_CHARACTERS_MAX = 200


def encode_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The key inside a cursor. Raises InvalidRequest where it is not one of ours."""
    try:
        if len(cursor) > CURSOR_CHARACTERS_MAX:
            raise ValueError
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise invalid_cursor() from None


def invalid_cursor() -> InvalidRequest:
    return InvalidRequest(fields={"cursor": ["Not a cursor of this list: use next_cursor of the last page."]})


def read_limit(
    query: Mapping[str, str], *, name: str = "limit", default: int | None = None, maximum: int | None = None
) -> int:
    """A whole number from 1 to `maximum` (PAGE_ITEMS_MAX) out of the query. Raises InvalidRequest."""
    maximum = settings.PAGE_ITEMS_MAX if maximum is None else maximum
    text = query.get(name)
    if text is None:
        return settings.PAGE_ITEMS_DEFAULT if default is None else default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= maximum):
        raise InvalidRequest(fields={name: [f"A whole number from 1 to {maximum} is required."]})
    return int(text)
