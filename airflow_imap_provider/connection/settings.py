"""What a connection says, parsed once into frozen values.

Below this floor nobody sees an Airflow connection or a raw dict. Values are complete (defaults and presets are filled
in) and checked; equal settings are equal values, so they serve as cache keys. Secrets are kept out of every ``repr``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from airflow_imap_provider.connection.limits import DEFAULT_TIMEOUT
from airflow_imap_provider.connection.urls import query_secrets, shown_url

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "AuthSettings",
    "Keeper",
    "OAuthSettings",
    "Security",
    "Settings",
    "SmimeSettings",
    "TlsSettings",
    "TunnelSettings",
    "Verification",
]

Security = Literal["none", "implicit", "starttls"]
Verification = Literal["full", "chain", "pinned", "none"]


def _secret() -> str:
    return field(default="", repr=False)


@dataclass(frozen=True)
class TlsSettings:
    """How a server proves itself, and what is good enough as encryption.

    :param versions: the allowed protocol versions, ascending.
    :param verify: what the certificate must stand up to.
    :param ca_bundle: path or PEM text of the trusted issuers; empty for the system's.
    :param pins: SHA-256 of certificate or public key, 64 lower-case hexadecimal digits each.
    :param client_certificate: path or PEM text; empty if the private key is PKCS#12.
    :param client_private_key: path, PEM text or PKCS#12 as base64.
    :param client_private_key_passphrase: empty if the key is not encrypted.
    :param server_name: asked for (SNI) and checked instead of the host; empty for the host itself.
    :param strict_x509: whether certificates must keep to RFC 5280 in full.
    """

    versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    verify: Verification = "full"
    ca_bundle: str = ""
    pins: tuple[str, ...] = ()
    client_certificate: str = ""
    client_private_key: str = _secret()
    client_private_key_passphrase: str = _secret()
    server_name: str = ""
    strict_x509: bool = True


class Keeper(Protocol):
    """Keeps the newest refresh token where an endpoint replaces it at each use (RFC 6749 section 6)."""

    def newest(self) -> str | None:
        """The newest one that was kept; ``None`` if the connection's own is still the newest.

        :raises ImapError: it cannot be read now.
        """
        ...

    def keep(self, token: str) -> bool:
        """Keep this one from now on; whether that worked."""
        ...


@dataclass(frozen=True)
class OAuthSettings:
    """What an OAuth 2.0 token is asked for with; all empty unless the method is one of OAuth's.

    :param endpoint: it may have a key in its query, which is shown as little as the other secrets.
    :param keeper: where replaced refresh tokens go; without one they last as long as the process.
    """

    tenant: str = ""
    client_id: str = ""
    client_secret: str = _secret()
    refresh_token: str = _secret()
    endpoint: str = ""
    scope: str = ""
    private_key: str = _secret()
    keeper: Keeper | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """As dataclasses do it, with the endpoint up to its query."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.repr}
        values["endpoint"] = shown_url(self.endpoint)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def fingerprint(self) -> str:
        """Names one consent, without telling the refresh token: another token in the form is another consent."""
        said = json.dumps([self.endpoint, self.client_id, self.refresh_token])
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class AuthSettings:
    """Who logs in, and how.

    :param method: a stored value of the field ``auth_method``.
    :param alias: the mailbox to act for; empty for the account's own.
    """

    method: str = "auto"
    login: str = ""
    password: str = _secret()
    alias: str = ""
    oauth: OAuthSettings = OAuthSettings()


@dataclass(frozen=True)
class TunnelSettings:
    """The proxy on the way to the server; all defaults if there is none.

    :param type: a stored value of the field ``tunnel_type``.
    :param port: set whenever there is a proxy.
    :param auth: a stored value of the field ``tunnel_auth``.
    :param use_credentials: whether login and password are sent.
    :param remote_dns: whether the proxy resolves the server's name.
    """

    type: str = "none"
    host: str = ""
    port: int | None = None
    auth: str = "auto"
    use_credentials: bool = True
    domain: str = ""
    login: str = ""
    password: str = _secret()
    remote_dns: bool = True


@dataclass(frozen=True)
class SmimeSettings:
    """What opens encrypted mails, and whose signatures are believed.

    :param private_key: certificates with their keys: path, PEM text or PKCS#12 as base64.
    :param passphrase: empty if no key is encrypted.
    :param issuers: path or PEM text of the issuers that are trusted for signatures; empty for the system's.
    """

    private_key: str = _secret()
    passphrase: str = _secret()
    issuers: str = ""


@dataclass(frozen=True)
class Settings:
    """Everything that a connection says.

    :param host: ASCII host name in lower case, or an IP address without brackets.
    :param security: ``implicit`` is TLS from the first byte, ``starttls`` is STARTTLS or nothing.
    :param timeout: seconds; the budget for connecting as a whole and the limit for each later answer.
    :param code_page: Python's name of the character set for text that declares none.
    :param preset: a stored value of the field ``preset``; its effect is already in the other values.
    """

    conn_id: str
    host: str
    port: int = 993
    security: Security = "implicit"
    timeout: float = DEFAULT_TIMEOUT
    code_page: str = "cp1252"
    preset: str = "custom"
    auth: AuthSettings = AuthSettings()
    tls: TlsSettings = TlsSettings()
    tunnel: TunnelSettings = TunnelSettings()
    smime: SmimeSettings = SmimeSettings()

    def secrets(self) -> frozenset[str]:
        """The secret values that are not empty, for keeping them out of messages of others."""
        return frozenset(_secret_values(self)) | query_secrets(self.auth.oauth.endpoint)


def _secret_values(settings: DataclassInstance) -> Iterator[str]:
    # What is kept out of repr() is a secret, by construction above: there is no second list to forget.
    for item in fields(settings):
        value = getattr(settings, item.name)
        if isinstance(value, str):
            if value and not item.repr:
                yield value
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _secret_values(value)
