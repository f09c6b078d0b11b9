"""Which of Python's codecs are charsets of mail: one rule for what a connection declares and for what a mail does."""

from __future__ import annotations

import codecs

__all__ = ["usable_codec"]

NOT_FOR_MAIL = frozenset({"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
"""Codecs of Python that are no charsets of mail; some take quadratic time, some differ between machines."""

WIDE = ("utf-16", "utf-32")
"""Charsets that may be used though they do not hold ASCII unchanged."""

_PROBE = b"Aa Zz 09 @"


def usable_codec(name: str) -> str | None:
    """Return Python's name of the codec, ``None`` if there is none or if it is nothing that mail is written in.

    :param name: of a charset, in any of the spellings that Python knows.
    """
    try:
        found = codecs.lookup(name).name
        if found not in NOT_FOR_MAIL and (found.startswith(WIDE) or _PROBE.decode(found) == _PROBE.decode("ascii")):
            return found
    except (LookupError, ValueError):
        # LookupError also for codecs that do not make text, such as hex or zlib.
        return None
    return None
