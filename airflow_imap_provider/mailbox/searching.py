"""Which servers search as the standard says. What they are asked is in ``mail/search.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_imap_provider.transport.session import Session

__all__ = ["finds_substrings"]

SUBSTRING_SEARCHERS = ("dovecot", "cyrus")
"""Servers whose SEARCH finds substrings as RFC 3501 (section 6.4.4) asks. Gmail and Exchange find whole words or their
beginnings instead, and so does any server with a full-text index (Dovecot then announces SEARCH=FUZZY): letting those
leave mails out would lose some."""


def finds_substrings(session: Session) -> bool:
    """Tell whether this server's text search can be trusted to find substrings."""
    name = f"{session.greeting} {session.server_name}".lower()
    return any(known in name for known in SUBSTRING_SEARCHERS) and not session.has("SEARCH=FUZZY")
