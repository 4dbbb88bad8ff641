"""Groups peers that are counted together, and finds proxies that have many clients."""

import functools
import ipaddress
from collections.abc import Sequence

from base.addresses import parse_address, party_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ADDRESSES_REMEMBERED_MAX = 1_000


class Peers:
    """Maps an address to the key under which its connections are counted."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self.key = functools.lru_cache(_ADDRESSES_REMEMBERED_MAX)(self._key)

    def _key(self, text: str) -> str | None:
        """Return the key of an address, or None if its connections are not counted.

        Not counted are trusted proxies, and Unix sockets, which have no address.
        """
        address = parse_address(text)
        if address is None or any(address in network for network in self._trusted):
            return None
        return party_of(address)
