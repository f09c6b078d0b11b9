"""What people write into a field that another program would take, and what to write here instead.

Nothing is guessed in silence: an address with a port could contradict the field Port. The error says each field and its
value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_imap_provider.connection.field import Field
from airflow_imap_provider.connection.hosts import host_name

__all__ = ["meant", "write_instead"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(\[[^]]*\]|[^:]*)(?::(\d{1,5}))?")

_PORT_FIELDS = {"host": "Port (port)", "tunnel_host": "Proxy port (tunnel_port)"}
"""Where the port goes that stands behind an address, by the field of the address."""

_SCHEMES: Mapping[tuple[str, str], str] = {
    ("host", "imaps"): "choose ssl as Cryptographic protocol (encryption)",
    ("tunnel_host", "http"): "choose http as Proxy type (tunnel_type)",
    ("tunnel_host", "socks4"): "choose socks4 as Proxy type (tunnel_type)",
    ("tunnel_host", "socks4a"): "choose socks4a as Proxy type (tunnel_type)",
    ("tunnel_host", "socks5"): "choose socks5 as Proxy type (tunnel_type)",
    ("tunnel_host", "socks5h"): "choose socks5 as Proxy type (tunnel_type)",
}
"""What a scheme asks for, by field and scheme."""

_STARTTLS = (
    "For STARTTLS choose tls as Cryptographic protocol (encryption) and explicit as Security mode (security_mode)."
)
_OAUTH = (
    "Choose oauth-client-credentials, oauth-refresh-token or oauth-service-account, which ask for a token; "
    "or bearer, if the token is in Password (password). XOAUTH2 or OAUTHBEARER is then chosen by itself."
)
_SCRAM = "Choose scram-sha-256: the binding to the connection (-PLUS) is used by itself where the server has it."
_WORDS: Mapping[tuple[str, str], str] = {
    ("encryption", "starttls"): _STARTTLS,
    ("encryption", "explicit"): _STARTTLS,
    ("encryption", "implicit"): "Choose ssl here, and implicit as Security mode (security_mode).",
    ("encryption", "imaps"): "Choose ssl.",
    ("encryption", "ssl/tls"): "Choose ssl.",
    ("encryption", "plain"): "Choose none, if the password may travel readable.",
    ("security_mode", "starttls"): "Choose explicit.",
    ("security_mode", "tls"): "Choose explicit.",
    ("security_mode", "ssl"): "Choose implicit.",
    ("verify", "true"): "Choose full.",
    ("verify", "false"): "Choose none, if anybody on the way may pose as the server.",
    ("auth_method", "oauth"): _OAUTH,
    ("auth_method", "oauth2"): _OAUTH,
    ("auth_method", "xoauth2"): _OAUTH,
    ("auth_method", "oauthbearer"): _OAUTH,
    ("auth_method", "scram-sha-256-plus"): _SCRAM,
    ("auth_method", "password"): "Choose auto.",
    ("tunnel_type", "socks"): "Choose socks5, unless the proxy is an old one.",
    ("tunnel_type", "socks5h"): "Choose socks5; Resolve names at the proxy (tunnel_remote_dns) is on by itself.",
    ("tunnel_type", "https"): "Choose http: it reaches servers with TLS too; a proxy that itself speaks TLS is not "
    "supported.",
}
"""What a word means that is no choice, by field and word."""


def meant(field: Field, text: str) -> str:
    """What to choose instead of this text; empty if nobody knows.

    :param text: in lower case.
    """
    return _WORDS.get((field.key, text), "")


def write_instead(field: Field, text: str) -> str:
    """What to write instead of an address with more around it, one sentence; empty if no address can be made out.

    :param text: it may contain a username and a password, which are never repeated.
    """
    scheme = _SCHEME.match(text)
    rest = text.rpartition("@")[2]
    rest = re.split(r"[/?#]", _SCHEME.sub("", rest, count=1) if "@" not in text else rest)[0].strip()
    found = _HOST_AND_PORT.fullmatch(rest)
    if found is None:
        return ""
    try:
        parts = [f"Write {host_name(found[1])} here"]
    except ValueError:
        return ""
    if found[2] and field.key in _PORT_FIELDS:
        parts.append(f"{found[2]} into {_PORT_FIELDS[field.key]}")
    if scheme and (choice := _SCHEMES.get((field.key, scheme[1].lower()))):
        parts.append(choice)
    return f"{', '.join(parts[:-1])} and {parts[-1]}." if len(parts) > 1 else f"{parts[0]}."
