"""Which of Python's codecs are charsets of mail: one rule for what a connection declares and for what a mail does."""

from __future__ import annotations

import codecs

from airflow_imap_provider.errors import SettingsError

__all__ = ["as_code_page", "usable_codec"]

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


def as_code_page(name: str) -> str:
    """The code page that a trigger, sensor or hook was given, in Python's name; empty for the connection's.

    :raises SettingsError: it is none that mail is written in; otherwise it would be passed over in silence.
    """
    if not name:
        return ""
    found = usable_codec(name) if isinstance(name, str) else None
    if found is None:
        raise SettingsError(
            f"code_page={name!r}: Python knows no character set of that name that mail is written in.",
            stage="settings",
            remedy="Accepted are names such as cp1252, iso-8859-2, koi8-r, shift_jis; empty: the connection's.",
        )
    return found
