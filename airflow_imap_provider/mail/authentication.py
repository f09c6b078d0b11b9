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
from typing import NamedTuple

__all__ = ["HEADERS", "METHODS", "MethodResult", "read_authentication"]

HEADERS = ("authentication-results", "received")
"""The headers that are needed, together: the place among the Received tells who added what."""

UNREADABLE = "?"
"""Stands for a domain that a server tells in a way that cannot be read for sure. No sender's domain is called so."""

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

ENVELOPE_FROM = "envelope-from"
"""Not a method, but what Amazon's servers (SES, WorkMail) write like one, instead of ``smtp.mailfrom``."""

_CHECKED = {"dkim": ("header.d", "header.i"), "dmarc": ("header.from",), "spf": ("smtp.mailfrom", "smtp.helo")}
"""The properties that tell the domain of each method, the one that counts first."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[;=]|[^\s;="()]+|\(|\s+', re.DOTALL)
_PARENTHESIS = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DOMAIN = re.compile(r"[^\s@<>,;:=?*\"()\[\]\\\x00-\x1f\ufffd]+")
_VERSION = re.compile(r"[0-9]{1,4}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


@dataclass(frozen=True)
class MethodResult:
    """What one check of a server gave.

    :param method: one of :data:`METHODS`.
    :param result: one of :data:`RESULTS`, or ``unknown``.
    :param domain: the domain that was checked, in lower case: of the signature (``header.d``, else ``header.i``), of
        the envelope's sender (``smtp.mailfrom``, else ``smtp.helo``), or of From (``header.from``); empty if the
        server does not tell, :data:`UNREADABLE` if it cannot be read for sure.
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
    words = _words(raw[:FIELD_LIMIT])
    sections: list[list[_Word]] = [[]]
    for word in words or []:
        if word.text == ";":
            sections.append([])
        else:
            sections[-1].append(word)
    server = [word.text for word in sections[0]]
    if not server or "=" in server or (len(server) > 1 and not _VERSION.fullmatch(server[1])) or len(server) > 2:
        return "", []  # Microsoft's, for example, begin with a result
    name = _unquoted(server[0]).lower()
    if words is None or words[-1].text == "(" or len(raw) > FIELD_LIMIT:
        return name, None
    listed = [_assignments(section) for section in sections[1:] if section]
    senders = [assignments[0][0] for assignments in listed].count(ENVELOPE_FROM)
    if senders > 1 or (senders and any("smtp.mailfrom" in dict(assignments) for assignments in listed)):
        return name, None  # the server has written it once, and the other is a sender's
    results: list[MethodResult] = []
    for assignments in listed:
        result = _result(assignments)
        if result is None:
            return name, None
        results += result
    return name, results


def _result(assignments: Sequence[tuple[str, str]]) -> list[MethodResult] | None:
    """Return what a section says: nothing of interest is an empty list, ``None`` what cannot be read.

    That is all that is not ``method=result`` with ``name=value`` behind it (RFC 8601, section 2.2), of any method: it
    may be the rest of an address that the server did not quote, ``x;dkim=pass header.d=bank.example;y z@evil.example``.
    An address ends with its domain, so a lone word without an @ is none: ``none``, or a name that Microsoft repeats.
    """
    (name, result), *properties = assignments
    if not name and not properties:
        return [] if _NAME.fullmatch(result) and result.lower() not in METHODS else None
    if not all(_NAME.fullmatch(each) for each, _ in assignments) or not result or result[0] == "=":
        return None
    method, result = name.partition("/")[0], result.lower()
    if method not in METHODS:
        return [] if "@" not in result or method == ENVELOPE_FROM else None  # a result is a keyword
    return [MethodResult(method, result if result in RESULTS else "unknown", _checked_domain(method, properties))]


def _assignments(section: Sequence[_Word]) -> list[tuple[str, str]]:
    """Return names, in lower case, and values in turn; what is neither has no name.

    A value reaches to the next blank or comment (RFC 8601, section 2.2): it may be a quoted local part and what follows
    it, or have further signs of equality.
    """
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(section):
        name = section[position].text
        if name == "=" or [word.text for word in section[position + 1 : position + 2]] != ["="]:
            found.append(("", name))
            position += 1
            continue
        position += 2
        first = position
        while position < len(section) and (position == first or section[position].glued):
            position += 1
        found.append((name.lower(), "".join(word.text for word in section[first:position])))
    return found


def _checked_domain(method: str, properties: Sequence[tuple[str, str]]) -> str:
    """Return the domain that a method has checked."""
    told: dict[str, list[str]] = {}
    for name, value in properties:
        told.setdefault(name, []).append(value)
    values = next((told[name] for name in _CHECKED[method] if name in told), [])
    if len(values) > 1 or (method != "spf" and _has_another_address(method, told)):
        return UNREADABLE  # it may be a part of what a sender was allowed to choose
    domain = _domain(values[0]) if values else ""
    if method == "dkim" and values:
        # Whom a signature is for belongs to the domain that has signed (RFC 6376, section 3.5).
        signed = {_domain(value) for value in told.get("header.i", ())}
        return domain if all(each == domain or each.endswith(f".{domain}") for each in signed) else UNREADABLE
    return domain


def _has_another_address(method: str, told: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether an address stands where DKIM and DMARC have none: it may be the end of the envelope's sender."""
    for name, values in told.items():
        if name not in _CHECKED[method]:
            plain = name == "reason" and all(_QUOTED.fullmatch(value) for value in values)
            if not plain and any("@" in value for value in values):
                return True
    return False


def _domain(value: str) -> str:
    """Return the domain of an address, or the value if it is a domain."""
    if value == "<>":
        return ""  # the sender of a bounce
    text = _unquoted(value) if _QUOTED.fullmatch(value) else value
    # A quoted string is a local part, or a piece of one, whatever stands in it.
    domain = _QUOTED.sub("x", text).strip("<>").rpartition("@")[2].rstrip(".").lower()
    return domain if _DOMAIN.fullmatch(domain) else UNREADABLE


class _Word(NamedTuple):
    text: str
    glued: bool
    """Whether it follows the word before without a blank or a comment."""


def _words(raw: bytes) -> list[_Word] | None:
    """Return words, quoted strings, ``;`` and ``=``, without comments; those before something that never closes, and
    ``(`` as the last one then. ``None`` if there is no word before it.
    """
    words: list[_Word] = []
    position = 0
    glued = False
    while position < len(raw):
        match = _TOKEN.match(raw, position)
        if match is None:
            return [*words, _Word("(", glued)] if words else None  # a quote or a bracket without its partner
        position = match.end()
        if match[0] == b"(":
            position = _end_of_comment(raw, match.start())
            if position == 0:
                return [*words, _Word("(", glued)] if words else None
            glued = False
        elif match[0].isspace():
            glued = False
        else:
            words.append(_Word(match[0].decode("utf-8", "replace"), glued))
            glued = True
    return words


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
