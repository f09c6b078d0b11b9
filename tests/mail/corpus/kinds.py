"""The kinds of trouble, each by a name and as the mail that has it.

Each says how many attachments must be found in it, on a server and in the whole mail: none of them may be lost. Where
both differ, the mail says two numbers; only what is announced by nothing may be found by one of both alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.mail.corpus.headers import HEADERS
from tests.mail.corpus.structures import STRUCTURES

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of trouble.

    :param name: what it is.
    :param raw: the mail.
    :param attachments: how many attachments it has at least.
    """

    name: str
    raw: bytes
    attachments: int


KINDS: tuple[Kind, ...] = tuple(Kind(*each) for each in (*HEADERS, *STRUCTURES))
"""All of them, the same in every run."""
