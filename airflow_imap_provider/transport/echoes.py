"""How somebody could repeat a secret that was sent to him: in which forms, and in pieces."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

__all__ = ["HIDDEN", "forms_of", "in_base64", "without_pieces"]

HIDDEN = "***"
"""What stands in the place of a secret."""

_PIECE = 6
"""Characters, capitals or not, of a secret in a row that are taken for a piece of it. Fewer tell little, and would be
found in ordinary words."""
_SHORTEST = 4
"""Characters of a secret that is looked for in capitals as a whole because it is shorter than a piece."""
_CODES = frozenset(
    {
        "ALERT",
        "AUTHENTICATIONFAILED",
        "AUTHORIZATIONFAILED",
        "CANNOT",
        "CLIENTBUG",
        "CONTACTADMIN",
        "EXPIRED",
        "INUSE",
        "LIMIT",
        "OVERQUOTA",
        "PRIVACYREQUIRED",
        "SERVERBUG",
        "THROTTLED",
        "UNAVAILABLE",
        "WEBALERT",
    }
)
"""Response codes that stand before a server's words, and mean something: no echo."""


def forms_of(secret: str) -> Iterable[str]:
    """A secret as it is, and as SASL, quoted strings and web forms write it."""
    encoded = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield secret.replace("\\", "\\\\").replace('"', '\\"')
    yield repr(secret)[1:-1]
    yield repr(encoded)[2:-1]
    yield in_base64(secret)
    # As a token endpoint gets it, and as others percent-encode what they repeat.
    yield from (quote_plus(encoded), quote(encoded), quote(encoded, safe=""))
    # As servers repeat it that take everything for Latin-1.
    yield encoded.decode("latin-1")


def in_base64(text: str) -> str:
    """As SASL and HTTP Basic send it."""
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def without_pieces(text: str, secrets: Iterable[str]) -> str:
    """The text up to the first piece of a secret in it; what follows may be more of it.

    Costs time and room for the text once, and time for the secrets once, however long these are.

    :param text: short: what is shown of a server's words.
    :param secrets: as they were sent; they are looked for in all their forms.
    """
    folded: list[str] = []
    places: list[int] = []  # of each folded character, since folding may make two of one
    for place, character in enumerate(text):
        for part in character.casefold():
            folded.append(part)
            places.append(place)
    line = "".join(folded)
    first = len(text)
    start = _behind_code(text)
    windows: dict[int, dict[str, int]] = {}
    for form in {form.casefold() for secret in secrets for form in forms_of(secret)}:
        size = min(len(form), _PIECE)
        if size < _SHORTEST:
            continue
        if size not in windows:
            found: dict[str, int] = {}
            for number in range(len(line) - size, -1, -1):
                if places[number] >= start:
                    found[line[number : number + size]] = places[number]
            windows[size] = found
        seen = windows[size]
        first = min(
            [first, *(seen[piece] for at in range(len(form) - size + 1) if (piece := form[at : at + size]) in seen)]
        )
    return text if first == len(text) else f"{text[:first]}{HIDDEN}"


def _behind_code(text: str) -> int:
    code, end, _ = text[1:].partition("]")
    return len(code) + 2 if text.startswith("[") and end and code.upper() in _CODES else 0
