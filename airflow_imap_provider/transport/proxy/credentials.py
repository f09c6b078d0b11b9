"""Who we are to a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_imap_provider.connection.settings import TunnelSettings
from airflow_imap_provider.errors import ProxyAuthenticationError

__all__ = ["LOGIN_REMEDY", "Credentials", "credentials_of"]

LOGIN_REMEDY = (
    "Check Proxy username (tunnel_login), Proxy password (tunnel_password) and, with NTLM, Proxy domain "
    "(tunnel_domain)."
)


@dataclass(frozen=True)
class Credentials:
    """A username with its password.

    :param domain: the NTLM domain; empty if there is none, or if the username has it already.
    """

    login: str
    password: str = field(default="", repr=False)
    domain: str = ""

    @property
    def qualified_login(self) -> str:
        r"""``DOMAIN\\user``, as Basic and NTLM write it."""
        return f"{self.domain}\\{self.login}" if self.domain and "\\" not in self.login else self.login


def credentials_of(tunnel: TunnelSettings) -> Credentials | None:
    """What the connection allows to send; ``None`` if there is nothing, or if it is switched off.

    :raises ProxyAuthenticationError: they have a character that no protocol can carry.
    """
    if not tunnel.use_credentials or not tunnel.login:
        return None
    for label, value in (
        ("Proxy username (tunnel_login)", tunnel.login),
        ("Proxy password (tunnel_password)", tunnel.password),
        ("Proxy domain (tunnel_domain)", tunnel.domain),
    ):
        if any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in value):
            raise ProxyAuthenticationError(
                f"{label} contains a control character or a lone surrogate.",
                stage="proxy",
                remedy="Write it again: such a character often comes from copying a line end.",
            )
    return Credentials(tunnel.login, tunnel.password, tunnel.domain)
