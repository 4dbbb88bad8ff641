"""Keyset pagination: a cursor holds the sort key of a page's last item.

Page 1,000 therefore costs as much as page 1. A cursor belongs to one query: its signature covers
the list, the filters and the key. The cursor of another query would silently skip items, so it is
refused. `limit` is not signed and may change from page to page. Known limit: after a change of the
secret key, all earlier cursors are invalid.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TypeVar

from django.conf import settings

from base.refusals import InvalidRequest

Key = TypeVar("Key")

CURSOR_CHARACTERS_MAX = 200
_SIGNATURE_BYTES = 9


class CursorQuery:
    """A list and the filters of its pages. A filter that is not used is None."""

    def __init__(self, listing: str, **filters: str | None) -> None:
        given = sorted((name, value) for name, value in filters.items() if value is not None)
        self._query = repr((listing, given))

    def encode(self, key: str) -> str:
        """Return the cursor of the page after the item with this sort key."""
        text = key.encode()
        return base64.urlsafe_b64encode(self._sign(text) + text).decode().rstrip("=")

    def next(self, key: object | None) -> str | None:
        """Return the cursor of the page after this sort key, or None if there is no further page."""
        return None if key is None else self.encode(str(key))

    def decode(self, cursor: str | None, parse: Callable[[str], Key]) -> Key | None:
        """Return the parsed sort key in a cursor, or None without a cursor.

        Raises InvalidRequest if the cursor is not from this query. `parse` may raise ValueError.
        """
        if cursor is None:
            return None
        try:
            if len(cursor) > CURSOR_CHARACTERS_MAX:
                raise ValueError
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            signature, text = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
            if not hmac.compare_digest(signature, self._sign(text)):
                raise ValueError
            return parse(text.decode())
        except ValueError:
            message = (
                "Not a cursor of this query. Send next_cursor of the last page with the same filters, or"
                " start without a cursor."
            )
            raise InvalidRequest(fields={"cursor": [message]}) from None

    def _sign(self, key: bytes) -> bytes:
        secret = hashlib.sha256(settings.SECRET_KEY.encode()).digest()
        signed = hashlib.blake2b(key, digest_size=_SIGNATURE_BYTES, key=secret, person=b"cursor")
        signed.update(b"\0" + self._query.encode())
        return signed.digest()


def read_limit(
    query: Mapping[str, str], *, name: str = "limit", default: int | None = None, maximum: int | None = None
) -> int:
    """Return a query parameter that must be a whole number from 1 to `maximum`.

    None as `default` means PAGE_ITEMS_DEFAULT. None as `maximum` means PAGE_ITEMS_MAX.

    Raises InvalidRequest.
    """
    maximum = settings.PAGE_ITEMS_MAX if maximum is None else maximum
    text = query.get(name)
    if text is None:
        return settings.PAGE_ITEMS_DEFAULT if default is None else default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= maximum):
        raise InvalidRequest(fields={name: [f"A whole number from 1 to {maximum} is required."]})
    return int(text)
