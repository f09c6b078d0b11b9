"""Authentication-Results (RFC 8601): what a receiving server found when it checked DKIM, SPF and DMARC of a mail.

Anybody can write such a header, so only those count that a server which the user names has added last: its first one
from the top, and those that follow it with no Received header or other server's result between. A parser of our own
instead of authres 1.2: that one raises for the whole header where one result is malformed, calls itself for comments
within comments, and leaves open which header to believe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["HEADERS", "METHODS", "MethodResult", "read_authentication"]

HEADERS = ("authentication-results", "received")
"""The headers that are needed, together: the place among the Received tells who added what."""

METHODS = ("dkim", "dmarc", "spf")
"""The methods that are looked at."""

RESULTS = ("fail", "hardfail", "neutral", "none", "pass", "permerror", "policy", "softfail", "temperror")
"""The results that RFC 8601 (section 2.7) knows for them, and the older ``hardfail``; others are ``unknown``."""

FIELD_LIMIT = 16 * 1024
"""Bytes of a header that are looked at: a longer one counts as malformed. A mail with twenty signatures has 5,000."""

SERVERS_LIMIT = 20
"""Servers whose results are kept. More than a handful is an attempt at something."""

RESULTS_LIMIT = 50
"""Results kept of a server. A mail has a signature or two."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[;=]|[^\s;="()]+|\(|\s+', re.DOTALL)
_PARENTHESIS = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_VERSION = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True)
class MethodResult:
    """What one check of a server gave.

    :param method: one of :data:`METHODS`.
    :param result: one of :data:`RESULTS`, or ``unknown``.
    :param domain: the domain that was checked, in lower case: of the signature (``header.d``, else ``header.i``), of
        the envelope's sender (``smtp.mailfrom``, else ``smtp.helo``), or of From (``header.from``); empty if the
        server does not tell.
    """

    method: str
    result: str
    domain: str

    def __str__(self) -> str:
        """Return the result as servers write it."""
        return f"{self.method}={self.result}" + (f" ({self.domain})" if self.domain else "")


def read_authentication(fields: Iterable[tuple[str, bytes]]) -> dict[str, tuple[MethodResult, ...]]:
    """Return the results of each server, by the server's name in lower case.

    Of each method only the topmost header that names it counts: what a sender wrote below cannot replace it.

    :param fields: names in lower case and raw values of header fields, from the top of the mail on; at least those of
        :data:`HEADERS`.
    """
    found: dict[str, list[MethodResult]] = {}
    done: set[str] = set()
    current = ""
    for name, raw in fields:
        if name not in HEADERS:
            continue
        server, results = _parse(raw) if name == "authentication-results" else ("", [])
        if current and server != current:
            done.add(current)  # its block ends here, whatever follows
        current = server
        if not server or server in done or (server not in found and len(found) >= SERVERS_LIMIT):
            continue
        known = found.setdefault(server, [])
        if results is None:
            done.add(server)  # malformed: neither it nor what stands below it is believed
            continue
        told = {each.method for each in known}
        known += [each for each in results if each.method not in told][: RESULTS_LIMIT - len(known)]
    return {server: tuple(results) for server, results in found.items()}


def _parse(raw: bytes) -> tuple[str, list[MethodResult] | None]:
    """Return the server's name and its results; no name if there is none, ``None`` for what cannot be read."""
    tokens = _tokens(raw[:FIELD_LIMIT])
    sections: list[list[str]] = [[]]
    for word in tokens or []:
        if word == ";":
            sections.append([])
        else:
            sections[-1].append(word)
    server = sections[0]
    if not server or "=" in server or (len(server) > 1 and not _VERSION.fullmatch(server[1])) or len(server) > 2:
        return "", []  # Microsoft's, for example, begin with a result
    name = _unquoted(server[0]).lower()
    if tokens is None or tokens[-1:] == ["("] or len(raw) > FIELD_LIMIT:
        return name, None
    results: list[MethodResult] = []
    for section in sections[1:]:
        result = _result(section)
        if result is None:
            return name, None
        results += result
    return name, results


def _result(section: Sequence[str]) -> list[MethodResult] | None:
    """Return what a section says: nothing of interest is an empty list, ``None`` what cannot be read."""
    if not section or [word.lower() for word in section] == ["none"]:
        return []
    method = section[0].lower().partition("/")[0]
    if method not in METHODS:
        return []
    if len(section) < 3 or section[1] != "=" or section[2] == "=":
        return None
    properties: dict[str, str] = {}
    for position in range(3, len(section) - 1):
        if section[position] == "=" and "=" not in (section[position - 1], section[position + 1]):
            properties.setdefault(section[position - 1].lower(), _unquoted(section[position + 1]))
    result = section[2].lower()
    return [MethodResult(method, result if result in RESULTS else "unknown", _domain(method, properties))]


def _domain(method: str, properties: Mapping[str, str]) -> str:
    names = {
        "dkim": ("header.d", "header.i"),
        "dmarc": ("header.from",),
        "spf": ("smtp.mailfrom", "smtp.helo"),
    }[method]
    value = next((properties[name] for name in names if properties.get(name)), "")
    return value.rpartition("@")[2].strip("<>").rstrip(".").lower()


def _tokens(raw: bytes) -> list[str] | None:
    """Return words, quoted strings, ``;`` and ``=``, without comments; those before something that never closes, and
    ``(`` as the last one then. ``None`` if there is no word before it.
    """
    tokens: list[str] = []
    position = 0
    while position < len(raw):
        match = _TOKEN.match(raw, position)
        if match is None:
            return [*tokens, "("] if tokens else None  # a quote or a bracket without its partner
        position = match.end()
        if match[0] == b"(":
            position = _end_of_comment(raw, match.start())
            if position == 0:
                return [*tokens, "("] if tokens else None
        elif not match[0].isspace():
            tokens.append(match[0].decode("utf-8", "replace"))
    return tokens


def _end_of_comment(raw: bytes, start: int) -> int:
    """Return the position behind a comment, which may hold comments, or 0 if it does not end."""
    depth = 0
    for match in _PARENTHESIS.finditer(raw, start):
        depth += {b"(": 1, b")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return 0


def _unquoted(token: str) -> str:
    return _ESCAPED.sub(r"\1", token[1:-1]) if token.startswith('"') else token
