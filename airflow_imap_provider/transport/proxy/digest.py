"""Digest authentication (RFC 7616, and RFC 2069 for proxies without qop): proves the password without sending it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import quote

from airflow_imap_provider.transport.proxy.challenges import Challenge
from airflow_imap_provider.transport.proxy.credentials import Credentials
from airflow_imap_provider.transport.proxy.limits import MAX_STALE_NONCES

__all__ = ["DigestLogin", "digest_strength"]

_ALGORITHMS = {
    "MD5": "md5",
    "MD5-SESS": "md5",
    "SHA-256": "sha256",
    "SHA-256-SESS": "sha256",
}
_STRENGTHS = {"sha256": 2, "md5": 1}
_COUNT = "00000001"
"""How often this nonce was used: each CONNECT that we answer has a nonce of its own."""


def _new_nonce() -> str:
    return secrets.token_hex(16)


def digest_strength(challenge: Challenge) -> int:
    """How good this challenge is among Digest's; 0 if we cannot answer it."""
    qop = challenge.parameters.get("qop")
    if "nonce" not in challenge.parameters or (qop is not None and "auth" not in _items(qop)):
        return 0
    name = _ALGORITHMS.get(_algorithm(challenge), "")
    return _STRENGTHS[name] if name and _can(name) else 0


def _can(name: str) -> bool:
    """Whether this machine has the algorithm: a policy may forbid MD5 altogether."""
    try:
        hashlib.new(name, usedforsecurity=False)
    except ValueError:
        return False
    return True


class DigestLogin:
    """Answers Digest challenges for one request target.

    :param target: the request target; of CONNECT it is ``host:port``.
    :param method: the request's.
    :param new_nonce: makes the client's nonce.
    """

    name = "Digest"
    repeatable = True

    def __init__(
        self,
        credentials: Credentials,
        target: str,
        *,
        method: str = "CONNECT",
        new_nonce: Callable[[], str] = _new_nonce,
    ) -> None:
        self._credentials = credentials
        self._target = target
        self._method = method
        self._new_nonce = new_nonce
        self._answered = 0

    def answer(self, challenges: list[Challenge]) -> str | None:
        """The value of Proxy-Authorization; ``None`` if our last answer was refused."""
        able = [one for one in challenges if one.scheme == "digest" and digest_strength(one)]
        if not able:
            return None
        challenge = max(able, key=digest_strength)
        stale = challenge.parameters.get("stale", "").lower() == "true"
        if self._answered and not (stale and self._answered <= MAX_STALE_NONCES):
            return None
        self._answered += 1
        return self._response(challenge)

    def _response(self, challenge: Challenge) -> str:
        given = challenge.parameters
        algorithm = _algorithm(challenge)
        realm, nonce = given.get("realm", ""), given["nonce"]
        client_nonce = self._new_nonce()

        def hashed(*parts: str) -> str:
            data = ":".join(parts).encode("utf-8", "surrogateescape")
            return hashlib.new(_ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()

        account = hashed(self._credentials.login, realm, self._credentials.password)
        if algorithm.endswith("-SESS"):
            account = hashed(account, nonce, client_nonce)
        request = hashed(self._method, self._target)
        fields = [self._username(given), ("realm", _quoted(realm)), ("nonce", _quoted(nonce))]
        fields.append(("uri", _quoted(self._target)))
        if "qop" in given:
            response = hashed(account, nonce, _COUNT, client_nonce, "auth", request)
            # qop and nc stand without quotation marks: RFC 7616 section 3.4.
            fields += [("qop", "auth"), ("nc", _COUNT), ("cnonce", _quoted(client_nonce))]
        else:
            response = hashed(account, nonce, request)
            if algorithm.endswith("-SESS"):
                fields.append(("cnonce", _quoted(client_nonce)))
        fields.append(("response", _quoted(response)))
        if "algorithm" in given:
            fields.append(("algorithm", given["algorithm"]))
        if "opaque" in given:
            fields.append(("opaque", _quoted(given["opaque"])))
        return "Digest " + ", ".join(f"{name}={value}" for name, value in fields)

    def _username(self, given: Mapping[str, str]) -> tuple[str, str]:
        login = self._credentials.login
        if not login.isascii() and given.get("charset", "").upper() == "UTF-8":
            return "username*", f"UTF-8''{quote(login, safe='')}"
        return "username", _quoted(login)


def _algorithm(challenge: Challenge) -> str:
    return challenge.parameters.get("algorithm", "MD5").upper()


def _items(text: str) -> set[str]:
    return {item.strip().lower() for item in text.split(",")}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
