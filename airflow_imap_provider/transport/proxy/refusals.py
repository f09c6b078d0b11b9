"""What the refusals of proxies mean, and what to do about each.

A refusal that only says that one address of the mail server cannot be reached is an :class:`UnreachableError`: with
names resolved on this side, the next address may do.
"""

from __future__ import annotations

import socks

from airflow_imap_provider.errors import ProxyAuthenticationError, ProxyError
from airflow_imap_provider.transport.proxy.credentials import LOGIN_REMEDY

__all__ = [
    "ClosedError",
    "UnreachableError",
    "broken",
    "closed",
    "http_refusal",
    "login_refused",
    "socks4_refusal",
    "socks5_refusal",
]

_CHECK_PROXY = "Check Proxy type (tunnel_type), Proxy address (tunnel_host) and Proxy port (tunnel_port)."
_TARGET = "Check Address (host) and Port (port), and whether the proxy's own network reaches them."
_RULES = "Ask the proxy's operator to allow this address and port; many proxies allow CONNECT to port 443 only."
_NAME = "If its DNS does not know the name, switch Resolve names at the proxy (tunnel_remote_dns) off."
_OPERATOR = "Ask the proxy's operator, who can see why in its log: this is the proxy's own trouble."


class ClosedError(ProxyError):
    """The proxy has hung up: perhaps it speaks another protocol."""


class UnreachableError(ProxyError):
    """The proxy is willing, but does not reach the address."""


def broken(problem: str, reply: str = "", remedy: str = "") -> ProxyError:
    """The error for an answer that breaks the protocol."""
    return ProxyError(
        problem,
        stage="proxy",
        reply=reply,
        remedy=remedy or _CHECK_PROXY,
    )


def closed(remedy: str = "") -> ProxyError:
    """The error for a connection that the proxy closed without a word of explanation."""
    return ClosedError(
        "the proxy closed the connection before the tunnel was there.",
        stage="proxy",
        remedy=remedy or _CHECK_PROXY,
    )


def login_refused(reply: str, scheme: str) -> ProxyAuthenticationError:
    """The error for credentials that the proxy does not accept."""
    return ProxyAuthenticationError(
        f"the proxy does not accept the login by {scheme}.", stage="proxy", reply=reply, remedy=LOGIN_REMEDY
    )


# -- SOCKS ------------------------------------------------------------------------------------------------------------

_SOCKS4_REMEDIES = {
    0x5B: f"{_TARGET} Or its rules do not allow it: SOCKS4 does not tell which. {_RULES}",
    0x5C: "Use SOCKS5 or HTTP: this proxy wants an identd on this machine, which is hardly ever there.",
    0x5D: "Use SOCKS5 or HTTP: this proxy compares Proxy username (tunnel_login) with the identd of this machine.",
}
_SOCKS5_REMEDIES = {
    0x01: f"{_OPERATOR} Some proxies say this of everything that fails. {_TARGET} {_NAME}",
    0x02: _RULES,
    0x03: _TARGET,
    0x04: f"{_TARGET} {_NAME}",
    0x05: "Check Address (host) and Port (port): nobody listens there.",
    0x06: _TARGET,
    0x07: "Use another proxy: this one does not make TCP connections for others.",
    0x08: "Give Address (host) in another form (name, IPv4, IPv6), or change Resolve names at the proxy "
    "(tunnel_remote_dns).",
}
# Dante says 1 where a name does not resolve; 8 where an address is of the wrong family.
_SOCKS5_UNREACHABLE = frozenset({0x01, 0x03, 0x04, 0x05, 0x06, 0x08})


def socks4_refusal(code: int) -> ProxyError:
    """The error for a SOCKS4 reply other than 90."""
    words = socks.SOCKS4_ERRORS.get(code, "unknown code")
    # 91 is "rejected or failed": for all we know, another address would do.
    kind = UnreachableError if code == 0x5B else ProxyError
    return kind(
        "the proxy refuses the connection.",
        stage="proxy",
        reply=f"{code}: {words}",
        remedy=_SOCKS4_REMEDIES.get(code, _OPERATOR),
    )


def socks5_refusal(code: int) -> ProxyError:
    """The error for a SOCKS5 reply other than 0 (RFC 1928 section 6)."""
    words = socks.SOCKS5_ERRORS.get(code, "unknown code")
    kind = UnreachableError if code in _SOCKS5_UNREACHABLE else ProxyError
    return kind(
        "the proxy refuses the connection.",
        stage="proxy",
        reply=f"{code}: {words}",
        remedy=_SOCKS5_REMEDIES.get(code, _OPERATOR),
    )


# -- HTTP -------------------------------------------------------------------------------------------------------------

_HTTP_REMEDIES = {
    400: "Check that this is a proxy that supports CONNECT: it does not accept the request as it is. " + _NAME,
    403: _RULES,
    404: f"{_CHECK_PROXY} This is a web server or a gateway, not a proxy that supports CONNECT.",
    405: f"{_CHECK_PROXY} This is a web server, or a proxy without CONNECT.",
    429: "Try later: the proxy limits how often one may connect.",
    501: "Use a proxy that supports CONNECT: this one does not.",
    500: f"{_OPERATOR} Some proxies say this of everything that fails. {_TARGET} {_NAME}",
    502: f"{_TARGET} {_NAME}",
    503: f"{_TARGET} {_NAME}",
    504: f"{_TARGET} The mail server does not answer the proxy in time.",
}
_HTTP_UNREACHABLE = frozenset({500, 502, 503, 504})


def http_refusal(code: int, reply: str) -> ProxyError:
    """The error for a status other than 2xx and 407."""
    kind = UnreachableError if code in _HTTP_UNREACHABLE else ProxyError
    if 300 <= code < 400:
        remedy = f"{_CHECK_PROXY} It sends us elsewhere, as portals do that want a person to log in first."
    else:
        remedy = _HTTP_REMEDIES.get(code, _OPERATOR)
    return kind(f"the proxy answers {code} to CONNECT.", stage="proxy", reply=reply, remedy=remedy)
