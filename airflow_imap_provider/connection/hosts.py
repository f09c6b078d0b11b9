"""Host names and IP addresses, in the one form that the whole package uses.

Nothing is resolved here. Equal hosts give equal text: lower case, IDNA for other alphabets, IPv6 in short form and
without brackets.
"""

from __future__ import annotations

import ipaddress
import re

__all__ = ["LONGEST_NAME", "host_name", "is_address", "without_zone"]

LONGEST_NAME = 253  # RFC 1035, without the final dot
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # RFC 1123, and the underscore that internal networks use


def host_name(text: str) -> str:
    """The host in the one form that the package uses.

    :param text: a DNS name, an IPv4 address, or an IPv6 address with or without brackets.
    :raises ValueError: with one sentence that says what is wrong and what to write instead.
    """
    name = text.strip()
    if not name:
        raise ValueError("it is empty")
    if "://" in name:
        raise ValueError("leave out the part up to ://, the encryption is a field of its own")
    if "@" in name:
        raise ValueError("leave out the part up to @, the username is a field of its own")
    if any(character.isspace() for character in name):
        raise ValueError("it contains a blank")
    if "/" in name:
        raise ValueError("leave out the part from / on, the folder is no part of an address")
    if name.startswith("["):
        inner, bracket, rest = name[1:].partition("]")
        if rest.startswith(":"):
            raise ValueError(f"leave out {rest}, the port is a field of its own")
        if not bracket or rest:
            raise ValueError("an IPv6 address looks like 2001:db8::1 or [2001:db8::1]")
        # The brackets are a URI's, in which the sign before a zone is written %25 (RFC 6874).
        return _ipv6(re.sub(r"%25(?=.)", "%", inner, count=1))
    if name.count(":") == 1:
        raise ValueError(f"leave out :{name.partition(':')[2]}, the port is a field of its own")
    if ":" in name:
        return _ipv6(name)
    return _dns_name(name)


def is_address(host: str) -> bool:
    """Whether the host is an IP address, which nobody has to resolve."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def without_zone(host: str) -> str:
    """The host without the zone of an IPv6 address (RFC 4007 section 11), which no certificate names."""
    return host.partition("%")[0]


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("an IPv6 address looks like 2001:db8::1 or [2001:db8::1]") from None
    if address.ipv4_mapped is None:
        return str(address)
    # Python 3.13 began to write these with dots, as RFC 5952 recommends; the form must not depend on that.
    return f"::ffff:{address.ipv4_mapped}" + (f"%{address.scope_id}" if address.scope_id else "")


def _dns_name(text: str) -> str:
    try:
        name = text.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise ValueError("it is not a host name") from None
    if len(name) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("a host name has letters, digits, dots and hyphens")
    if name.rpartition(".")[2].isdigit() and not is_address(name):
        raise ValueError("an IPv4 address has four numbers from 0 to 255")
    return name
