"""Equal values kept once: ten thousand mailboxes of a company have one way to encrypt and one server's capabilities.

For immutable values only, since everybody gets the same one.
"""

from __future__ import annotations

import functools
from typing import TypeVar

__all__ = ["shared"]

T = TypeVar("T")

KEPT = 256
"""Values kept, the ones used last: different ones beyond are simply not shared."""


@functools.lru_cache(maxsize=KEPT, typed=True)
def _first(value: object) -> object:
    return value


def shared(value: T) -> T:
    """Return a value that is equal to this one: the first of its kind that came here."""
    return _first(value)  # type: ignore[return-value]
