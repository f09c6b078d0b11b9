"""Marks on forwards, by which this installation knows its own again: in a loop, in a bounce, in an automatic answer.

A mark is in the Message-ID of a forward and in a header of its own. It has a message authentication code, so nobody
else can make one: a header that a stranger has written counts for nothing. Where marks are looked for, and what
follows, is in ``forwarding``; where the keys come from, in ``hooks.outgoing``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser

__all__ = ["FOREIGN", "HOPS_HEADER", "Head", "Marks"]

HOPS_HEADER = "X-Airflow-Forwarded"
"""Carries the marks of a forward: first its own, then those of other installations that it came by."""

FOREIGN = 10
"""Marks of other installations that are carried on at most."""

DIGITS = 20
"""Hexadecimal digits of a mark's identity, and of its code: 80 bits cannot be guessed mail by mail. Two of these and
the rest of the header's line stay below the 76 characters at which quoted-printable would break it in a bounce."""

_MARK = re.compile(rb"(?<![0-9a-z-])([1-9])-([0-9a-f]{%d})-([0-9a-f]{%d})(?![0-9a-z-])" % (DIGITS, DIGITS))


@dataclass(frozen=True)
class Marks:
    """Makes marks, and knows its own.

    :param keys: secrets: the first makes them, all are believed. Without one, whoever knows this code can make marks.
    """

    keys: tuple[bytes, ...] = field(repr=False)

    def make(self, identity: str, depth: int) -> str:
        """Return the mark of a forward.

        :param identity: what tells it from others; the same for the same forward.
        :param depth: how often what is forwarded was forwarded, this time included; 1 to 9.
        """
        digest = hashlib.sha256(identity.encode()).hexdigest()[:DIGITS]
        return f"{depth}-{digest}-{_code(self.keys[0] if self.keys else b'', str(depth), digest)}"

    def depth(self, content: bytes) -> int:
        """Return how often what is in a mail was forwarded by this installation: the deepest of its marks."""
        found = set(_MARK.findall(content))
        return max((int(each[0]) for each in found if self._own(*each)), default=0)

    def foreign(self, head: Head) -> list[str]:
        """Return the marks of other installations that a mail's header carries."""
        found = dict.fromkeys(_MARK.findall(" ".join(head.values(HOPS_HEADER)).encode("ascii", "replace")))
        return [b"-".join(each).decode() for each in found if not self._own(*each)][:FOREIGN]

    def _own(self, depth: bytes, digest: bytes, code: bytes) -> bool:
        return any(
            hmac.compare_digest(_code(key, depth.decode(), digest.decode()).encode(), code)
            for key in self.keys or (b"",)
        )


def _code(key: bytes, depth: str, digest: str) -> str:
    # The text before it keeps this use of the key apart from any other.
    text = f"airflow-imap-provider: forward {depth} {digest}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:DIGITS]


class Head:
    """A mail's header, as far as it says who made the mail, and why.

    :param raw: the mail, or its header.
    """

    def __init__(self, raw: bytes) -> None:
        self._message: Message = BytesHeaderParser().parsebytes(raw)

    def values(self, name: str) -> Sequence[str]:
        """Return the values of a field, on one line each."""
        return [" ".join(str(value).split()) for value in self._message.get_all(name, [])]

    @property
    def is_bounce(self) -> bool:
        """Tell whether it is a report about a mail: a bounce, a receipt. Nothing may answer it (RFC 5321, 4.5.5)."""
        return "<>" in self.values("Return-Path") or self._message.get_content_type() == "multipart/report"

    @property
    def is_answer(self) -> bool:
        """Tell whether a machine has made it because of another mail (RFC 3834, section 5)."""
        return self.is_bounce or any(
            value.lower().startswith("auto-replied") for value in self.values("Auto-Submitted")
        )
