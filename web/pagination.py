"""Keyset pages: a cursor is the sort key of the last item shown, so page 1,000 costs what page 1 costs.

A cursor belongs to its query. It bears a signature over the list, the filters and the key: another query's cursor
would skip items without a word, and is refused. `limit` is no part of it, and may change from page to page.
Known limit: a new secret key ends the cursors that were given out before.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from django.conf import settings

from base.refusals import InvalidRequest

CURSOR_CHARACTERS_MAX = 200
_SIGNATURE_BYTES = 9


class CursorQuery:
    """A list and the filters that its pages have in common; None for a filter that is left out."""

    def __init__(self, listing: str, **filters: str | None) -> None:
        given = sorted((name, value) for name, value in filters.items() if value is not None)
        self._query = repr((listing, given))

    def encode(self, key: str) -> str:
        """The cursor of the page that begins after the item with this sort key."""
        text = key.encode()
        return base64.urlsafe_b64encode(self._sign(text) + text).decode().rstrip("=")

    def decode(self, cursor: str) -> str:
        """The sort key inside a cursor. Raises InvalidRequest if the cursor is not one of this query."""
        try:
            if len(cursor) > CURSOR_CHARACTERS_MAX:
                raise ValueError
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            signature, text = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
            if not hmac.compare_digest(signature, self._sign(text)):
                raise ValueError
            return text.decode()
        except (ValueError, binascii.Error):
            raise invalid_cursor() from None

    def _sign(self, key: bytes) -> bytes:
        secret = hashlib.sha256(settings.SECRET_KEY.encode()).digest()
        signed = hashlib.blake2b(key, digest_size=_SIGNATURE_BYTES, key=secret, person=b"cursor")
        signed.update(b"\0" + self._query.encode())
        return signed.digest()


def invalid_cursor() -> InvalidRequest:
    return InvalidRequest(
        fields={
            "cursor": [
                "Not a cursor of this query: send next_cursor of its last page with the same filters, or begin"
                " without a cursor."
            ]
        }
    )


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
