"""How a secret can look, and everything in which it must not be seen."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from airflow_imap_provider.connection.fields import FIELDS
from tests.matrix.world import Form
from tests.transport.test_secrets import forms

SECRET_FIELDS = tuple(spec.key for spec in FIELDS if spec.secret)
SHORTEST = 8
"""Characters of what can be told from ordinary words."""
_CLIENT_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x02"
"""Extended key usage "client authentication" (RFC 5280, section 4.2.1.12)."""
PIECE = 48
"""Characters of a long secret that are too much by themselves: what is shown of an answer is cut off somewhere."""


def secrets_of(form: Form) -> set[str]:
    """Every form of every secret of a connection, and of what is made of it to log in."""
    found: set[str] = set()
    for key in SECRET_FIELDS:
        if isinstance(value := form.get(key), str) and not value.startswith("/"):  # a path is none
            found |= lines_of(value) if "-----BEGIN" in value else looks(value)
    for name, password in (("login", "password"), ("tunnel_login", "tunnel_password")):
        secret, login = form.get(password) or "", form.get(name) or ""
        if secret:
            alias, domain = form.get("alias") or "", form.get("tunnel_domain") or ""
            made = (f"{alias}\0{login}\0{secret}", f"{login}:{secret}", f"{domain}\\{login}:{secret}")
            found |= {b64encode(text.encode()).decode() for text in made}
    return {secret for secret in found if len(secret) >= SHORTEST}


def pieces(secret: str) -> set[str]:
    """What a long secret is cut into; a short one stays whole."""
    if len(secret) <= PIECE:
        return {secret}
    starts = range(0, len(secret) - PIECE + 1, PIECE)
    return {piece for piece in (secret[start : start + PIECE] for start in starts) if not _is_of_a_certificate(piece)}


def _is_of_a_certificate(piece: str) -> bool:
    """Whether it is the end of a client certificate, as PKCS#12 files hold one: that is alike in all of them."""
    if not re.fullmatch("[A-Za-z0-9+/]+", piece):
        return False
    ends = (piece[start:][: (len(piece) - start) // 4 * 4] for start in range(4))
    return any(_CLIENT_AUTH in b64decode(end) for end in ends)


def lines_of(text: str) -> set[str]:
    """The lines of a private key in this text, or in a service account's: any of them would give a part away."""
    key = json.loads(text)["private_key"] if text.startswith("{") else text
    return set("".join(key.partition("PRIVATE KEY-----")[2].partition("-----END")[0]).split())


def looks(secret: str) -> set[str]:
    """The forms of one secret: as it is, quoted, escaped, in base64, percent-encoded, and read as Latin-1."""
    return {
        *forms(secret),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        secret.encode().decode("latin-1"),
    }


@contextmanager
def every_log_line() -> Iterator[list[str]]:
    """All that any logger is told, from DEBUG on, whatever it would do with it."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{self.format(record)} {vars(record)!r}")

    keep = Keep(logging.DEBUG)
    root = logging.getLogger()
    known = [found for found in logging.Logger.manager.loggerDict.values() if isinstance(found, logging.Logger)]
    before: list[tuple[logging.Logger, Any, Any]] = [(found, found.level, found.disabled) for found in (root, *known)]
    for found, _, _ in before:
        found.setLevel(logging.DEBUG)
        found.disabled = False
        if found is root or not found.propagate:
            found.addHandler(keep)
    try:
        yield lines
    finally:
        for found, level, disabled in before:
            found.removeHandler(keep)
            found.setLevel(level)
            found.disabled = disabled
