"""Which addresses belong to one party: whoever has one IPv6 address has all that share its first 64 bits."""

import ipaddress

IPV6_HOST_BITS = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """An address with or without its zone; an IPv4 one if it is mapped into IPv6. None if it is not an address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def party_of(address: Address) -> str:
    """The address itself, or the first one of its IPv6 /64."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Address(int(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS))
