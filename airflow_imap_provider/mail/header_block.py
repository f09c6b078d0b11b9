"""A header block split into its fields, as raw bytes.

Not the standard library's parser: that one takes the first line without a colon for the end of the header and loses
what follows. Here such a line is skipped, and everything is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow_imap_provider.errors import SettingsError

__all__ = ["FIELDS_LIMIT", "HEADER_LIMIT", "check_header_name", "check_header_names", "header_fields"]

HEADER_LIMIT = 128 * 1024
"""Bytes of a header block that are looked at. Postfix cuts headers at 100 KiB (``header_size_limit``) and others at
less, so a longer one was not delivered but stored. Nothing that is done with a header takes quadratic time: one of
this length, full of what is known to be slow, takes half a second."""

FIELDS_LIMIT = 500
"""Fields of a header block that are looked at. We ask for a few by name; only trace fields come in dozens."""

_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$&'+.^_`|~-]{1,76}")
"""Names that need no quoting in FETCH and SEARCH: RFC 5322's ``ftext`` without what IMAP gives a meaning. The length
is the longest that fits on one line of a header."""

_END_OF_FIELD = re.compile(rb"\r?\n(?![ \t])")


def check_header_names(names: object) -> list[str]:
    """Return names of headers as they were given.

    :raises SettingsError: for anything but a list of names; a single text would be taken for its letters.
    """
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise SettingsError(
            f"headers={names!r:.80}; a list of header names is accepted",
            stage="settings",
            remedy=f"Write headers=[{names!r:.80}]." if isinstance(names, str) else "Such as headers=['X-Priority'].",
        )
    listed = list(names)
    for name in listed:
        check_header_name(name)
    return listed


def header_fields(block: bytes, problems: list[str]) -> list[tuple[str, bytes]]:
    """Return the fields from the top on: lower-case names and raw values, still folded.

    :param block: the header as the server sends it.
    :param problems: what was wrong is added here.
    """
    if len(block) > HEADER_LIMIT:
        problems.append(f"the header is longer than {HEADER_LIMIT} bytes: the rest is not looked at")
        block = block[:HEADER_LIMIT]
    fields: list[tuple[str, bytes]] = []
    for line in _END_OF_FIELD.split(block):
        name, colon, value = line.partition(b":")
        name = name.strip()
        if not colon or not name or b" " in name or b"\n" in name:
            if line.strip():
                problems.append("the header holds a line that is no field")
            continue
        if len(fields) >= FIELDS_LIMIT:
            problems.append(f"the header has more than {FIELDS_LIMIT} fields: the rest is not looked at")
            break
        fields.append((name.decode("ascii", "replace").lower(), value))
    return fields


def check_header_name(name: object) -> str:
    """Return a header's name in lower case.

    :raises SettingsError: if it cannot be the name of a header, or could change the command that asks for it.
    """
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} is no name of a mail header",
            stage="settings",
            remedy="Write it as in the mail and without the colon, such as 'X-Priority'.",
        )
    return name.lower()
