"""Tells whether a FETCH that is answered OK has told what was asked for.

Some answers leave a mail out, or its header, although the mail is there: an index is ahead of the storage, or a file
cannot be read. Who takes such a mail for one that is gone loses it, and who takes it for one without a subject removes
it for not matching. What follows from it is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_imap_provider.mail.fetching import header_of
from airflow_imap_provider.mail.header_block import HEADER_LIMIT

__all__ = ["HEADER_ITEMS", "tells", "with_header"]

BEGINNING = 512
"""Octets of a mail that show whether it begins with a header."""

HEADER_ITEMS = [f"BODY.PEEK[HEADER]<0.{HEADER_LIMIT}>", f"BODY.PEEK[]<0.{BEGINNING}>"]
"""What a mail is asked for once more whose header was not given, or without a single field."""

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


def tells(answer: Mapping[bytes, Any] | None, items: Sequence[str]) -> bool:
    """Tell whether an answer has anything of a mail, and its header if that was asked for.

    One without any field counts as none until it was asked for once more: such mails are rare.
    """
    if not answer or not any(key not in (b"UID", b"SEQ") for key in answer):
        return False
    return not _asks_header(items) or bool((header_of(answer) or b"").strip())


def with_header(
    answer: Mapping[bytes, Any], more: Mapping[bytes, Any], items: Sequence[str]
) -> Mapping[bytes, Any] | None:
    """Return an answer with the header that was given when it was asked for once more; ``None`` if none was.

    A mail has no header if its beginning shows that: it is a line break, or anything else that is no field.

    :param answer: to the items.
    :param more: to :data:`HEADER_ITEMS`.
    """
    rest = {key: value for key, value in answer.items() if header_of({key: value or b""}) is None}
    if not _asks_header(items) or not rest.keys() - {b"UID", b"SEQ"}:
        return None
    header = header_of(more) or b""
    if not header.strip():
        beginning = next((value for key, value in more.items() if key.upper().startswith(b"BODY[]")), None)
        size = rest.get(b"RFC822.SIZE")
        least = min(size, BEGINNING) if isinstance(size, int) and size > 0 else 1
        # What is empty, or shorter than it should be, may be a file that cannot be read.
        if not isinstance(beginning, bytes) or len(beginning) < least or _FIELD.match(beginning):
            return None
    return {**rest, b"BODY[HEADER]": header}


def _asks_header(items: Sequence[str]) -> bool:
    return any("HEADER" in item for item in items)
