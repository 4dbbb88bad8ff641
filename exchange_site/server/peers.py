"""Which peers count together, and which are proxies that speak for many clients."""

import functools
import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

IPV6_HOST_BITS = 64  # of an address: whoever has one has all that share the other half
ADDRESSES_REMEMBERED_MAX = 1_000


class Peers:
    """Maps an address to the key that its connections are counted under."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self.key = functools.lru_cache(ADDRESSES_REMEMBERED_MAX)(self._key)

    def _key(self, address: str) -> str | None:
        """None for a trusted proxy, and for what is no address (a Unix socket): such peers are not counted."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return None
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if any(ip in network for network in self._trusted):
            return None
        if ip.version == 4:
            return str(ip)
        return str(ipaddress.ip_network((ip, IPV6_HOST_BITS), strict=False))
