"""Which way of logging in to take of those that an HTTP proxy offers."""

from __future__ import annotations

import base64
from typing import Protocol

from airflow_imap_provider.errors import ProxyAuthenticationError
from airflow_imap_provider.transport.proxy.challenges import Challenge
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.digest import DigestLogin, digest_strength
from airflow_imap_provider.transport.proxy.ntlm import NtlmLogin

__all__ = ["BasicLogin", "HttpLogin", "choose_login"]

_LABELS = {"basic": "Basic", "digest": "Digest", "ntlm": "NTLM"}


class HttpLogin(Protocol):
    """One way of logging in, for one handshake."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def answer(self, challenges: list[Challenge]) -> str | None:
        """The value of Proxy-Authorization; ``None`` if our last answer was refused."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether the last answer is good on another connection too."""
        ...


class BasicLogin:
    """RFC 7617: username and password, readable for everybody between here and the proxy."""

    name = "Basic"
    repeatable = True

    def __init__(self, credentials: Credentials) -> None:
        if ":" in credentials.qualified_login:
            raise ProxyAuthenticationError(
                "Proxy username (tunnel_login) contains a colon, which Basic cannot carry.",
                stage="proxy",
                remedy="Choose digest or ntlm as Proxy authentication (tunnel_auth), if the proxy offers it.",
            )
        pair = f"{credentials.qualified_login}:{credentials.password}".encode()
        self._value = f"Basic {base64.b64encode(pair).decode('ascii')}"
        self._answered = False

    def answer(self, challenges: list[Challenge]) -> str | None:
        """The same each time, so a second challenge means that it was refused."""
        if self._answered or all(one.scheme != "basic" for one in challenges):
            return None
        self._answered = True
        return self._value


def choose_login(
    challenges: list[Challenge], method: str, credentials: Credentials | None, *, target: str, proxy_host: str
) -> HttpLogin:
    """The strongest way that the proxy offers and the connection allows.

    Digest goes before NTLM, whose proof is made with MD4 and MD5 whatever the proxy can, and Basic comes last, which
    proves nothing and tells the password. Where a domain is filled in, NTLM goes first: Digest knows no domains.

    :param method: ``auto``, ``basic``, ``digest`` or ``ntlm``.
    :raises ProxyAuthenticationError: there is none, or nothing to log in with.
    """
    offered = ", ".join(dict.fromkeys(_LABELS.get(one.scheme, one.scheme) for one in challenges)) or "nothing"
    if credentials is None:
        raise ProxyAuthenticationError(
            "the proxy wants a login.",
            stage="proxy",
            reply=f"offers {offered}",
            remedy="Fill in Proxy username (tunnel_login) and Proxy password (tunnel_password), and leave Use proxy "
            "credentials (tunnel_use_credentials) on.",
        )
    able = {one.scheme for one in challenges if one.scheme != "digest" or digest_strength(one)}
    order = ("ntlm", "digest", "basic") if credentials.domain else ("digest", "ntlm", "basic")
    allowed = [kind for kind in order if kind in able and method in ("auto", kind)]
    if not allowed:
        wanted = "a way of logging in that is known here" if method == "auto" else _LABELS[method]
        raise ProxyAuthenticationError(
            f"the proxy does not offer {wanted}.",
            stage="proxy",
            reply=f"offers {offered}",
            remedy="Choose another Proxy authentication (tunnel_auth), or automatic.",
        )
    if allowed[0] == "ntlm":
        return NtlmLogin(credentials, proxy_host)
    return DigestLogin(credentials, target) if allowed[0] == "digest" else BasicLogin(credentials)
