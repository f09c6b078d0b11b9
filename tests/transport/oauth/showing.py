"""Looking for secrets in whatever could be shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote_plus

from airflow_imap_provider.connection.settings import Settings
from tests.transport.oauth_server import OAuthWorld
from tests.transport.test_secrets import forms

__all__ = ["check_nothing_shows"]

PIECE = 32


def check_nothing_shows(world: OAuthWorld, settings: Settings, text: str, *more: str) -> None:
    """Assert that a text has none of the secrets that were used so far, in no form.

    :param more: further secrets.
    """
    for secret in (*_secrets(world, settings), *more):
        for form in (*forms(secret), quote_plus(secret)):
            # A part of a long one is too much, too: what is shown of an answer is cut off somewhere.
            pieces = [form[start : start + PIECE] for start in range(0, max(len(form) - PIECE, 1), PIECE)]
            for piece in pieces:
                assert piece not in text, piece


def _secrets(world: OAuthWorld, settings: Settings) -> Iterator[str]:
    auth = settings.auth
    identity = auth.alias or auth.login
    for token in (*world.endpoint.issued, auth.password):
        if token:
            yield token
            # The token's own parts, and what SASL makes of it.
            yield from token.split(".") if token.count(".") == 2 else ()
            for message in (
                f"user={identity}\x01auth=Bearer {token}\x01\x01",
                f"n,a={identity},\x01host={settings.host}\x01port={settings.port}\x01auth=Bearer {token}\x01\x01",
            ):
                yield base64.b64encode(message.encode()).decode()
    for form in world.endpoint.forms:
        for name in ("client_secret", "client_assertion", "refresh_token", "assertion"):
            if name in form:
                yield form[name]
    for consent in world.endpoint._consents:
        yield from (consent.valid, *consent.used)
    oauth = auth.oauth
    yield from (secret for secret in (oauth.client_secret, oauth.refresh_token) if secret)
    key = oauth.private_key
    if key.startswith("{"):
        key = json.loads(key)["private_key"]
    private = key.partition("PRIVATE KEY-----")[2].partition("-----END")[0]
    yield from (line for line in private.split("\n") if len(line) > 20)
