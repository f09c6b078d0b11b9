"""Reading Proxy-Authenticate: the schemes that a proxy offers, with their parameters (RFC 9110 section 11)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Challenge", "parse_challenges"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's token, no credential
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|\s*(?:,|$))")
_TOKEN68 = re.compile(r"([A-Za-z0-9._~+/-]+=*)\s*(?:,|$)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Challenge:
    """One offer.

    :param scheme: lower-case.
    :param token: what stands in place of parameters (NTLM), base64; empty if there is none.
    :param parameters: by lower-case name, without quotes.
    """

    scheme: str
    token: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The offers in these header values, in their order; what cannot be understood ends its header."""
    return [challenge for value in values for challenge in _parse(value)]


def _parse(value: str) -> Iterable[Challenge]:
    position = 0
    while position < len(value):
        if value[position] in ", \t":
            position += 1
            continue
        scheme = _SCHEME.match(value, position)
        if scheme is None:
            return
        position = scheme.end()
        bare = scheme[0].rstrip().endswith(",") or position == len(value)
        parameters: dict[str, str] = {}
        token = ""
        while not bare and (parameter := _PARAMETER.match(value, position)):
            quoted, plain = parameter[2], parameter[3]
            parameters[parameter[1].lower()] = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            position = parameter.end()
        if not bare and not parameters and (found := _TOKEN68.match(value, position)):
            token = found[1]
            position = found.end()
        yield Challenge(scheme[1].lower(), token, parameters)
