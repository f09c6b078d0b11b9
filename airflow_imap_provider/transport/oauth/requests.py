"""What is sent to a token endpoint, by grant, without I/O.

Client credentials (RFC 6749 section 4.4) with a secret or a signed assertion (RFC 7523 section 2.2), refresh token
(RFC 6749 section 6), and a service account's assertion (RFC 7523 section 2.1).
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import quote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives import hashes

from airflow_imap_provider.connection.fields import field as form_field
from airflow_imap_provider.connection.settings import AuthSettings, OAuthSettings
from airflow_imap_provider.connection.urls import query_secrets
from airflow_imap_provider.connection.values import read
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.transport.oauth.keys import SigningKey, application_key, service_account
from airflow_imap_provider.transport.oauth.limits import ASSERTION_LIFE, SERVICE_ACCOUNT_LIFE

__all__ = ["TokenRequest", "token_request"]

GOOGLE_ENDPOINT = "https://oauth2.googleapis.com/token"
GOOGLE_SCOPE = "https://mail.google.com/"

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_BASIC = "Basic "
_SECRET = ("client_secret", "client_assertion", "refresh_token", "assertion")


@dataclass(frozen=True)
class TokenRequest:
    """One POST.

    :param url: the token endpoint; there may be a key in its query.
    :param form: the fields of the body.
    :param authorization: the header of that name; empty for none.
    """

    url: str = field(repr=False)
    form: Mapping[str, str] = field(repr=False)
    authorization: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it must not be shown."""
        basic = self.authorization.removeprefix(_BASIC)
        sent = [self.form[name] for name in _SECRET if name in self.form]
        return (*sent, *((basic,) if basic else ()), *query_secrets(self.url))

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def by_basic(self) -> TokenRequest | None:
        """The same with the application's secret in HTTP Basic and not in the body; ``None`` if it has no secret.

        RFC 6749 section 2.3.1: every endpoint must know Basic, the body only some do. The body goes first, since the
        big providers take both and not every endpoint decodes the form encoding that Basic demands here.
        """
        if self.authorization or "client_secret" not in self.form:
            return None
        form = dict(self.form)
        pair = f"{quote_plus(form.pop('client_id'))}:{quote_plus(form.pop('client_secret'))}"
        return replace(self, form=form, authorization=_BASIC + base64.b64encode(pair.encode("ascii")).decode("ascii"))


def token_request(auth: AuthSettings, now: datetime, refresh_token: str = "") -> TokenRequest:
    """The request for the connection's method.

    :param now: the wall clock, for assertions.
    :param refresh_token: the newest one, for the grant of that name.
    :raises SettingsError: the private key cannot be used.
    """
    if auth.method == "oauth-service-account":
        return _service_account(auth, now)
    oauth = auth.oauth
    form = {"grant_type": "client_credentials"}
    if auth.method == "oauth-refresh-token":
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    form["client_id"] = oauth.client_id
    if oauth.scope:
        form["scope"] = oauth.scope
    if oauth.client_secret:
        form["client_secret"] = oauth.client_secret
    elif oauth.private_key:
        form |= {"client_assertion_type": _ASSERTION, "client_assertion": _client_assertion(oauth, now)}
    return TokenRequest(oauth.endpoint, form)


def _client_assertion(oauth: OAuthSettings, now: datetime) -> str:
    """Who has this certificate's key is the application (OpenID Connect Core section 9, ``private_key_jwt``)."""
    key = application_key(oauth.private_key)
    if key.certificate is None and oauth.tenant:
        raise SettingsError(
            "Authentication, OAuth: private key (oauth_private_key): there is no certificate in it, and Microsoft "
            "knows the application's key by its certificate.",
            stage="settings",
            remedy="Give the certificate that is uploaded at the App registration together with its key.",
        )
    if oauth.tenant and key.algorithm != "RS256":
        # Microsoft's "Certificate credentials" names algorithms of RSA only: PS256 today, RS256 before.
        raise SettingsError(
            "Authentication, OAuth: private key (oauth_private_key): it is no RSA key, and Microsoft takes no others.",
            stage="settings",
            remedy="Make an RSA key with a certificate, and upload that at the App registration.",
        )
    begin = int(now.timestamp())
    claims = {
        "aud": oauth.endpoint,
        "iss": oauth.client_id,
        "sub": oauth.client_id,
        "jti": str(uuid.uuid4()),
        "iat": begin,
        "nbf": begin,
        "exp": begin + ASSERTION_LIFE,
    }
    return jwt.encode(claims, key.key, algorithm=key.algorithm, headers=_thumbprints(key))


def _thumbprints(key: SigningKey) -> dict[str, str]:
    """The certificate's fingerprints (RFC 7515 section 4.1.7 and 4.1.8): Microsoft finds it by either.

    It demanded ``x5t`` with RS256 for years and now recommends ``x5t#S256`` with PS256. RS256 with both is what its
    older and its national clouds take too, and what other endpoints are sure to know (RFC 7518 section 3.1).
    """
    if key.certificate is None:
        return {}
    # SHA-1 protects nothing here: it is a name for a certificate that the endpoint has.
    sha1, sha256 = hashes.SHA1(), hashes.SHA256()  # noqa: S303
    return {
        "x5t": _base64url(key.certificate.fingerprint(sha1)),
        "x5t#S256": _base64url(key.certificate.fingerprint(sha256)),
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _service_account(auth: AuthSettings, now: datetime) -> TokenRequest:
    """The account asks for a token as the mailbox's owner: domain-wide delegation."""
    account = service_account(auth.oauth.private_key)
    endpoint = auth.oauth.endpoint or _checked(account.endpoint) or GOOGLE_ENDPOINT
    begin = int(now.timestamp())
    claims = {
        "iss": account.email,
        "sub": auth.alias or auth.login,
        "scope": auth.oauth.scope or GOOGLE_SCOPE,
        "aud": endpoint,
        "iat": begin,
        "exp": begin + SERVICE_ACCOUNT_LIFE,
    }
    headers = {"kid": account.key_id} if account.key_id else None
    assertion = jwt.encode(claims, account.key, algorithm=account.algorithm, headers=headers)
    return TokenRequest(endpoint, {"grant_type": _JWT_BEARER, "assertion": assertion})


def _checked(endpoint: str) -> str:
    """The address in the JSON, if it would be accepted in the form."""
    if not endpoint:
        return ""
    try:
        return str(read(form_field("oauth_endpoint"), endpoint) or "")
    except SettingsError as exc:
        raise SettingsError(
            f"Authentication, OAuth: private key (oauth_private_key): token_uri in the JSON: {exc.problem}",
            stage="settings",
            remedy=exc.remedy,
        ) from None
