"""The tree that IMAPClient makes of a BODYSTRUCTURE: its fields as they come, whatever a server has put there.

What they mean is decided in :mod:`~airflow_imap_provider.mail.structure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_imap_provider.mail.mime_fields import parameters_of

__all__ = ["DEPTH_LIMIT", "at", "children_of", "disposition", "pairs", "word"]

DEPTH_LIMIT = 20
"""Multiparts within multiparts, and mails within mails, that are followed. Real mail stays under 10; Dovecot itself
stops at 100."""


def children_of(body: Sequence[Any]) -> list[Sequence[Any]] | None:
    """Return the parts of a multipart, ``None`` for a single part.

    IMAPClient puts the parts of a multipart into a list, but leaves an attached mail's as they come.
    """
    first = at(body, 0)
    if isinstance(first, list):
        return [child for child in first if isinstance(child, (tuple, list)) and child]
    if not isinstance(first, tuple):
        return None
    children: list[Sequence[Any]] = []
    for child in body:
        if not isinstance(child, (tuple, list)):
            break
        children.append(child)
    return children


def at(body: object, index: int) -> Any:
    """Return a field, ``None`` if it is not there."""
    return body[index] if isinstance(body, (tuple, list)) and index < len(body) else None


def word(value: object) -> str:
    """Return a token such as a type or an encoding, in lower case and printable."""
    if not isinstance(value, bytes):
        return ""
    text = value.decode("ascii", "replace").strip().lower()
    return "".join(c for c in text if c.isascii() and c.isprintable() and c not in '"/ ')[:80]


def disposition(value: object) -> tuple[str, object]:
    """Return a disposition and its parameters."""
    if isinstance(value, bytes):
        # Against the grammar, and seen: the word alone, or (pymap) the whole header, attachment; filename="a.csv".
        return word(value.partition(b";")[0]), value
    return word(at(value, 0)), at(value, 1)


def pairs(value: object) -> list[tuple[bytes, bytes]]:
    """Return parameters as pairs, also of a header that is told as one string.

    IMAPClient turns values of digits alone into numbers.
    """
    if isinstance(value, bytes):
        value = parameters_of(b";" + value)
    if not isinstance(value, (tuple, list)):
        return []
    texts = [str(item).encode("ascii") if isinstance(item, int) else item for item in value]
    return [
        (name, text)
        for name, text in zip(texts[::2], texts[1::2], strict=False)
        if isinstance(name, bytes) and isinstance(text, bytes)
    ]
