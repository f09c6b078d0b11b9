"""The two SASL mechanisms that carry an OAuth 2.0 token, without I/O: XOAUTH2 and OAUTHBEARER.

Where the token comes from is not their business. A server that refuses one says why in JSON and waits for a last word
before its NO (RFC 7628 section 3.2.2).
"""

from __future__ import annotations

import json

from airflow_imap_provider.transport.sasl import SaslError

__all__ = ["BEARER_METHODS", "OAuthBearer", "XOAuth2"]

BEARER_METHODS = ("oauth-client-credentials", "oauth-refresh-token", "oauth-service-account", "bearer")
"""The stored values of Method (auth_method) that log in with a token."""

_TOLD = ("status", "schemes", "scope", "error", "error_description")
"""What of the server's JSON is repeated, in this order; other members (``openid-configuration``) say nothing here."""


class _Bearer:
    """One message with the token, and the answer to the server's reason."""

    name = ""
    last_word = b""

    def __init__(self, message: str) -> None:
        self.initial: bytes | None = message.encode()
        self.refusal = ""
        self._answered = False

    def answer(self, challenge: bytes) -> bytes:
        if self._answered:
            raise SaslError(f"the server asks for more than {self.name} has to say.")
        self._answered = True
        self.refusal = _reason(challenge)
        return self.last_word

    def finish(self) -> None:
        """Insist that a server which has told a reason for a refusal does not report success after it."""
        if self._answered:
            raise SaslError("the server reports success after having refused the token.", self.refusal)


class XOAuth2(_Bearer):
    """XOAUTH2, as Google has published it and Microsoft speaks it.

    :param identity: the mailbox to open.
    :param token: the access token.
    """

    name = "XOAUTH2"

    def __init__(self, identity: str, token: str) -> None:
        super().__init__(f"user={identity}\x01auth=Bearer {token}\x01\x01")


class OAuthBearer(_Bearer):
    """OAUTHBEARER (RFC 7628).

    :param identity: the authorization identity; empty for the token's own.
    :param token: the access token.
    :param host: the server's name as this side knows it.
    """

    name = "OAUTHBEARER"
    last_word = b"\x01"

    def __init__(self, identity: str, token: str, host: str, port: int) -> None:
        # The "gs2-header" of RFC 5801 section 4, without channel binding.
        escaped = identity.replace("=", "=3D").replace(",", "=2C")
        header = f"n,{f'a={escaped}' if identity else ''},"
        super().__init__(f"{header}\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01")


def _reason(challenge: bytes) -> str:
    try:
        told = json.loads(challenge)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return challenge.decode("utf-8", "replace")
    return ", ".join(f"{name} {told[name]}" for name in _TOLD if isinstance(told.get(name), (str, int)))
