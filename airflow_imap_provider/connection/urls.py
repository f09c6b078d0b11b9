"""What of a web address may be shown: a pasted one may have a password in it, and a good one a key in its query."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

__all__ = ["query_secrets", "shown_url"]

MASK = "***"
"""In a secret's place, here and in Airflow's API."""

SHORTEST_KEY = 6
"""Characters of a query's value that is kept out of messages: ``p=1`` is no key, and every 1 would be masked."""

_UP_TO_USER = re.compile(r"\A([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"\A(?:[a-z][a-z0-9+.-]*://)?", re.IGNORECASE)
_QUERY = re.compile(r"[?#]")


def shown_url(text: str) -> str:
    """Return an address, or what should be one, without what stands in front of its @ and in its query.

    A pasted password may contain /, blanks, ? and another @. So where an @ comes after a ?, only the scheme is left.
    """
    found = _QUERY.search(text)
    if found is None:
        return _UP_TO_USER.sub(rf"\g<1>{MASK}@", text)
    scheme = _SCHEME.match(text)
    if "@" in text[found.start() :]:
        return f"{scheme[0] if scheme else ''}{MASK}"
    return f"{shown_url(text[: found.start()])}{found[0]}{MASK}"


def query_secrets(url: str) -> frozenset[str]:
    """Return what may be a key in an address's query, as written and decoded."""
    query = url.partition("?")[2].partition("#")[0]
    values = {value or name for name, _, value in (each.partition("=") for each in query.split("&"))}
    forms = {form for value in values for form in (value, unquote(value), unquote_plus(value))}
    return frozenset(form for form in forms if len(form) >= SHORTEST_KEY)
