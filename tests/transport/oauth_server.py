"""A Dovecot that takes tokens, and the endpoint that gives them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings, Settings, TlsSettings
from tests.servers.dovecot import Dovecot, User
from tests.servers.token_endpoint import TokenEndpoint

TOKEN_KEY = secrets.token_bytes(32)
EMAIL = "robot@project.example.com"


@dataclass(frozen=True)
class OAuthWorld:
    """The two servers; the endpoint's certificate is of the mail server's authority.

    :param only: a mail server like the other that knows a single mechanism, by its name.
    """

    dovecot: Dovecot
    endpoint: TokenEndpoint
    only: dict[str, Dovecot]

    def settings(self, user: User, auth: AuthSettings, server: Dovecot | None = None, **changes: Any) -> Settings:
        found = server or self.dovecot
        tls = TlsSettings(ca_bundle=found.authority.pem + self.dovecot.authority.pem)
        return found.settings(user, **{"auth": auth, "tls": tls, **changes})

    def by_secret(self, user: User, *, secret: str = "", alias: str = "", **changes: str) -> AuthSettings:
        """How an application with a secret logs in."""
        secret = secret or f"app-s3cret/{secrets.token_hex(8)}+& ü"
        client_id = self.endpoint.register(alias or user.login, secret=secret)
        return self._auth("oauth-client-credentials", user, alias, client_id, client_secret=secret, **changes)

    def by_certificate(self, user: User, *, alias: str = "", packed: str = "") -> AuthSettings:
        """How an application with a certificate logs in."""
        pem, certificate = certified_key(self.dovecot)
        client_id = self.endpoint.register(alias or user.login, certificate=certificate)
        return self._auth("oauth-client-credentials", user, alias, client_id, private_key=packed or pem)

    def by_consent(self, user: User, *, alias: str = "", **changes: Any) -> AuthSettings:
        """How somebody logs in who has a user's consent."""
        secret = f"app-s3cret/{secrets.token_hex(8)}+& ü"
        client_id = self.endpoint.register(alias or user.login, secret=secret)
        token = self.endpoint.consent(alias or user.login, client_id).valid
        return self._auth(
            "oauth-refresh-token", user, alias, client_id, client_secret=secret, refresh_token=token, **changes
        )

    def by_service_account(self, user: User, *, alias: str = "") -> AuthSettings:
        """How a service account logs in."""
        key = rsa.generate_private_key(65537, 2048)
        self.endpoint.add_service_account(EMAIL, key.public_key())
        account = {
            "type": "service_account",
            "client_email": EMAIL,
            "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "private_key_id": secrets.token_hex(8),
            "token_uri": self.endpoint.url,
        }
        return AuthSettings(
            "oauth-service-account", user.login, alias=alias, oauth=OAuthSettings(private_key=json.dumps(account))
        )

    def by_token(self, user: User, *, alias: str = "") -> AuthSettings:
        """How somebody logs in who has a token."""
        return AuthSettings("bearer", user.login, self.endpoint.token_for(alias or user.login), alias)

    def _auth(self, method: str, user: User, alias: str, client_id: str, **oauth: Any) -> AuthSettings:
        given = OAuthSettings(client_id=client_id, endpoint=self.endpoint.url, scope="mail.all", **oauth)
        return AuthSettings(method, user.login, alias=alias, oauth=given)


def certified_key(dovecot: Dovecot) -> tuple[str, x509.Certificate]:
    """An application's key with its certificate, as PEM."""
    issued = dovecot.client_authority.issue_client(f"app-{secrets.token_hex(4)}", key_size=2048)
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    return issued.pem + issued.key.read_text(), certificate


@pytest.fixture(scope="session")
def oauth_servers(dovecot: Dovecot) -> Iterator[OAuthWorld]:  # dovecot: says whether there is one to be had
    servers = {
        name: Dovecot(mechanisms=mechanisms, token_key=TOKEN_KEY)
        for name, mechanisms in (
            ("both", "plain xoauth2 oauthbearer"),
            ("XOAUTH2", "plain xoauth2"),
            ("OAUTHBEARER", "plain oauthbearer"),
        )
    }
    both = servers["both"]
    try:
        for server in servers.values():
            server.start()
        with TokenEndpoint(TOKEN_KEY, both.authority.issue("endpoint")) as endpoint:
            yield OAuthWorld(both, endpoint, servers)
    finally:
        for server in servers.values():
            server.remove()


@pytest.fixture
def world(oauth_servers: OAuthWorld) -> OAuthWorld:
    """The servers, well-behaved at first."""
    oauth_servers.endpoint.reset()
    return oauth_servers
