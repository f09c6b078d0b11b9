"""SOCKS4 and SOCKS4a: an IPv4 address, or with 4a a name, and a user id without a password.

The protocol is in Ying-Da Lee's "SOCKS: A protocol for TCP proxy across firewalls" and its extension for names.
"""

from __future__ import annotations

import ipaddress
import struct

from airflow_imap_provider.connection.hosts import is_address
from airflow_imap_provider.errors import ProxyError
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.refusals import closed, socks4_refusal
from airflow_imap_provider.transport.proxy.steps import Handshake, Read, Send
from airflow_imap_provider.transport.proxy.strangers import stranger

__all__ = ["socks4_connect"]

_VERSION, _CONNECT, _GRANTED = 4, 1, 90
_NAME_FOLLOWS = b"\x00\x00\x00\x01"  # 0.0.0.x with x other than 0: what SOCKS4a added


def socks4_connect(host: str, port: int, credentials: Credentials | None) -> Handshake:
    """Ask for a connection.

    :param host: an IPv4 address; a name is SOCKS4a.
    :raises ProxyError: the proxy refuses, or does not speak SOCKS4; or the address is not IPv4.
    """
    if is_address(host):
        address = ipaddress.ip_address(host)
        if address.version != 4:
            raise ProxyError(
                f"SOCKS4 knows no IPv6 addresses, and the mail server is {host}.",
                stage="proxy",
                remedy="Choose socks5 or http as Proxy type (tunnel_type), or give Address (host) as a name.",
            )
        destination, name = address.packed, b""
    else:
        destination, name = _NAME_FOLLOWS, host.encode("ascii") + b"\0"
    user = credentials.login.encode() if credentials else b""
    yield Send(struct.pack(">BBH", _VERSION, _CONNECT, port) + destination + user + b"\0" + name)
    # Two bytes that tell, then six that mean nothing for CONNECT.
    answer = yield Read(2)
    if not answer:
        raise closed(
            "Check Proxy username (tunnel_login): a SOCKS4 proxy may close for a user id that it does not know."
        )
    if answer[0] != 0:
        raise (yield from stranger(answer, "SOCKS4"))
    if len(answer) < 2:
        raise closed()
    if answer[1] != _GRANTED:
        raise socks4_refusal(answer[1])
    if len((yield Read(6))) < 6:
        raise closed()
    return f"{_GRANTED}: granted"
