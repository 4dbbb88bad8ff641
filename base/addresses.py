"""Groups IP addresses by party: the addresses that one person or computer can probably use.

The holder of one IPv6 address usually has all addresses that share its first 64 bits.
"""

import ipaddress

IPV6_HOST_BITS = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """Return the address in a text, without an IPv6 zone, or None if the text is no address.

    An IPv4 address that is mapped into IPv6 is returned as IPv4.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def party_of(address: Address) -> str:
    """Return an IPv4 address itself, or the first address of an IPv6 address's /64."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Address(int(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS))
