"""OAuth's part of the matrix's world: what the form stores for every way to a token, and what goes over the wire.

The endpoint checks what it is sent, and gives tokens that the world's Dovecot checks again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, load_pem_private_key, pkcs12

from airflow_imap_provider.connection.settings import AuthSettings
from tests.servers.client_material import in_base64
from tests.servers.dovecot import Dovecot, User
from tests.servers.token_endpoint import JWT_BEARER, TokenEndpoint
from tests.transport.oauth_server import OAuthWorld

Form = dict[str, Any]
"""What the form stores: the connection's own attributes and the keys of its extra, all in one."""

GRANTS = {
    "oauth-client-credentials": "client_credentials",
    "oauth-refresh-token": "refresh_token",
    "oauth-service-account": JWT_BEARER,
}
"""What a method asks the endpoint for."""
METHODS = ("bearer", *GRANTS)
SECRET_MEMBERS = ("client_secret", "client_assertion", "refresh_token", "assertion")
"""What of a token request must not be shown."""


class Tokens:
    """A token endpoint, and whom it knows.

    :param server: the mail server that takes its tokens.
    :param folder: for keys in files.
    """

    def __init__(self, server: Dovecot, endpoint: TokenEndpoint, folder: Path) -> None:
        self.endpoint = endpoint
        self._folder = folder
        self._known: list[tuple[str, str]] = []
        self._world = OAuthWorld(server, endpoint, {})
        self._ways: dict[str, Callable[..., AuthSettings]] = {
            "bearer": self._world.by_token,
            "oauth-client-credentials": self._world.by_secret,
            "oauth-refresh-token": self._world.by_consent,
            "oauth-service-account": self._world.by_service_account,
        }

    def by(self, method: str, login: str, alias: str = "") -> Form:
        """What logs somebody in by this method; an application proves itself by a secret."""
        return self._values(self._ways[method](User(login, ""), alias=alias))

    def by_certificate(self, login: str, kind: str = "PEM text") -> Form:
        """What logs an application in that proves itself by a certificate, given in this way."""
        values = self._values(self._world.by_certificate(User(login, "")))
        return {**values, "oauth_private_key": self.given(values["oauth_private_key"], kind)}

    def given(self, text: str, kind: str) -> str:
        """A key's text, or a service account's, in one of the ways that the field takes it."""
        if kind == "path":
            path = self._folder / f"oauth-key-{len(list(self._folder.iterdir()))}"
            path.write_text(text)
            return str(path)
        return {"PEM text": text, "one line": text.replace("\n", " "), "JSON": text}.get(kind) or _packed(text)

    def secrets(self) -> Iterator[str]:
        """Everything secret that went over the wire so far, and what SASL makes of the tokens."""
        for form in self.endpoint.forms:
            for name in SECRET_MEMBERS:
                if name in form:
                    yield from (form[name], *_parts(form[name]))
        given = [form for form in self._known if form[1]]
        for token in (*self.endpoint.issued, *(token for _, token in given)):
            yield from (token, *_parts(token))
        for identity, token in given:
            yield base64.b64encode(f"user={identity}\x01auth=Bearer {token}\x01\x01".encode()).decode()

    def _values(self, auth: AuthSettings) -> Form:
        self._known.append((auth.alias or auth.login, auth.password))
        oauth = auth.oauth
        values = {"client_id": oauth.client_id, "client_secret": oauth.client_secret}
        values |= {"refresh_token": oauth.refresh_token, "endpoint": oauth.endpoint, "scope": oauth.scope}
        values["private_key"] = oauth.private_key
        return {
            "auth_method": auth.method,
            "login": auth.login,
            "password": auth.password or None,
            "alias": auth.alias or None,
            **{f"oauth_{key}": value or None for key, value in values.items()},
        }


def _packed(pem: str) -> str:
    key, certificate = load_pem_private_key(pem.encode(), None), x509.load_pem_x509_certificate(pem.encode())
    data: Any = pkcs12.serialize_key_and_certificates
    return in_base64(data(b"app", key, certificate, None, NoEncryption()))


def _parts(token: str) -> list[str]:
    """The claims and the signature of a JWT: each would give something away by itself."""
    return token.split(".")[1:] if token.count(".") == 2 else []
