"""SOCKS5 (RFC 1928), without a login or with username and password (RFC 1929)."""

from __future__ import annotations

import ipaddress
import struct

from airflow_imap_provider.connection.hosts import is_address
from airflow_imap_provider.errors import ProxyAuthenticationError
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.limits import MAX_SOCKS5_TEXT_BYTES
from airflow_imap_provider.transport.proxy.refusals import broken, closed, login_refused, socks5_refusal
from airflow_imap_provider.transport.proxy.steps import Handshake, Read, Send
from airflow_imap_provider.transport.proxy.strangers import stranger

__all__ = ["socks5_connect"]

_VERSION, _CONNECT = 5, 1
_NO_LOGIN, _USERNAME_PASSWORD, _NONE_ACCEPTABLE = 0, 2, 0xFF
_LOGIN_VERSION = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_SIZES = {_IPV4: 4, _IPV6: 16}


def socks5_connect(host: str, port: int, credentials: Credentials | None) -> Handshake:
    """Ask for a connection.

    :param host: an IP address, or a name that the proxy resolves.
    :param credentials: offered if given; the proxy chooses whether it wants them.
    :raises ProxyError: the proxy refuses, or does not speak SOCKS5.
    :raises ProxyAuthenticationError: it wants a login, or another one.
    """
    login = _login(credentials) if credentials else b""
    methods = bytes([_NO_LOGIN, _USERNAME_PASSWORD]) if credentials else bytes([_NO_LOGIN])
    yield Send(bytes([_VERSION, len(methods)]) + methods)
    answer = yield Read(2)
    if not answer:
        raise closed()
    if answer[0] != _VERSION:
        raise (yield from stranger(answer, "SOCKS5"))
    if len(answer) < 2:
        raise closed()
    method = answer[1]
    if method == _USERNAME_PASSWORD and credentials:
        yield Send(login)
        answer = yield Read(2)
        # The first byte is a version that some proxies get wrong; the second tells. RFC 1929: closes after a refusal.
        if len(answer) < 2:
            raise ProxyAuthenticationError(
                "the proxy closed the connection when it had got the login.",
                stage="proxy",
                remedy="Check Proxy username (tunnel_login) and Proxy password (tunnel_password), which it may not "
                "accept.",
            )
        if answer[1] != 0:
            raise login_refused(f"status {answer[1]}", "username and password")
    elif method == _NONE_ACCEPTABLE:
        raise _no_method(offered=credentials is not None)
    elif method != _NO_LOGIN:
        raise broken(f"the proxy chose authentication method {method}, which was not offered.")
    words = yield from _request(host, port)
    return f"{words} (login by username and password)" if method == _USERNAME_PASSWORD else words


def _request(host: str, port: int) -> Handshake:
    if is_address(host):
        address = ipaddress.ip_address(host)
        destination = bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed
    else:
        name = host.encode("ascii")
        destination = bytes([_NAME, len(name)]) + name
    yield Send(bytes([_VERSION, _CONNECT, 0]) + destination + struct.pack(">H", port))
    # Some proxies send only the first bytes of a refusal before they close.
    answer = yield Read(2)
    if not answer:
        raise closed()
    if answer[0] != _VERSION:
        raise broken("the proxy does not speak SOCKS5.", reply=repr(answer)[2:-1])
    if len(answer) < 2:
        raise closed()
    if answer[1] != 0:
        raise socks5_refusal(answer[1])
    # The address that the proxy connects from. Nobody needs it, but it must be read to its last byte.
    answer = yield Read(2)
    if len(answer) < 2:
        raise closed()
    size = _ADDRESS_SIZES.get(answer[1])
    if answer[1] == _NAME:
        length = yield Read(1)
        size = length[0] if length else 0
    if size is None:
        raise broken(f"the proxy answers with an address of unknown type {answer[1]}.")
    if len((yield Read(size + 2))) < size + 2:
        raise closed()
    return "0: succeeded"


def _login(credentials: Credentials) -> bytes:
    parts = bytearray([_LOGIN_VERSION])
    for label, text in (
        ("Proxy username (tunnel_login)", credentials.login),
        ("Proxy password (tunnel_password)", credentials.password),
    ):
        encoded = text.encode()
        if len(encoded) > MAX_SOCKS5_TEXT_BYTES:
            raise ProxyAuthenticationError(
                f"{label} has {len(encoded)} bytes; SOCKS5 carries {MAX_SOCKS5_TEXT_BYTES} at most.",
                stage="proxy",
                remedy="Use shorter credentials, or an HTTP proxy.",
            )
        parts += bytes([len(encoded)]) + encoded
    return bytes(parts)


def _no_method(*, offered: bool) -> ProxyAuthenticationError:
    if offered:
        return ProxyAuthenticationError(
            "the proxy accepts neither a connection without a login nor one with username and password.",
            stage="proxy",
            remedy="Ask the proxy's operator: it may want GSSAPI, or not want us at all.",
        )
    return ProxyAuthenticationError(
        "the proxy wants a login.",
        stage="proxy",
        remedy="Fill in Proxy username (tunnel_login) and Proxy password (tunnel_password), and leave Use proxy "
        "credentials (tunnel_use_credentials) on.",
    )
