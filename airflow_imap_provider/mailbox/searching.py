"""Which servers search as the standard says, for which dates, and which mails they still have.

What they are asked is in ``mail/search.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_imap_provider.mail.search import EARLIEST, LATEST

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = ["finds_substrings", "received_before", "received_since", "still_there"]

SUBSTRING_SEARCHERS = ("dovecot", "cyrus")
"""Servers whose SEARCH finds substrings as RFC 3501 (section 6.4.4) asks. Gmail and Exchange find whole words or their
beginnings instead, and so does any server with a full-text index (Dovecot then announces SEARCH=FUZZY): letting those
leave mails out would lose some."""


def received_since(moment: datetime) -> list[object]:
    """Return what to SEARCH for to find mails received since a moment, and some of before; nothing if all are.

    SINCE compares dates without time and zone (RFC 3501, section 6.4.4): a day of margin.
    """
    day = moment.date()
    return ["SINCE", min(day - timedelta(days=1), LATEST)] if day > EARLIEST else []


def received_before(moment: datetime) -> list[object] | None:
    """Return what to SEARCH for to find mails received before the day of a moment; ``None`` if none are asked for."""
    day = moment.date()
    return ["BEFORE", min(day, LATEST)] if day > EARLIEST else None


def finds_substrings(session: Session) -> bool:
    """Tell whether this server's text search can be trusted to find substrings."""
    name = f"{session.greeting} {session.server_name}".lower()
    return any(known in name for known in SUBSTRING_SEARCHERS) and not session.has("SEARCH=FUZZY")


def still_there(session: Session, uids: Sequence[int]) -> list[int]:
    """Return which of these mails the open folder still has."""
    session.noop()  # some servers keep expunged mails in SEARCH until they have told of them
    found = set(session.search(["UID", f"{min(uids)}:{max(uids)}"]))
    return [uid for uid in uids if uid in found]
