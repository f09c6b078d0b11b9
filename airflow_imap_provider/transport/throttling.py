"""What servers say when they have had enough: the words, what each means, how long to stay away, and what to change.

One table. The words are those that the providers' servers have been seen to send; response codes are RFC 5530's. None
of them says anything about the password: whoever hears them must not count them as a refused login, since a slower
rhythm mends them and a hundred quick attempts make them worse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["LIMITS", "Limit", "recognise", "suggested_pause"]

LONGEST_SUGGESTION = 3600.0
"""Seconds of a suggested pause that are believed: Office 365 has been seen to ask for up to fifty minutes."""


@dataclass(frozen=True)
class Limit:
    """A way of saying "not now".

    :param name: for people: what has been exceeded.
    :param words: what it looks like in the server's answer.
    :param pause: first and longest pause in seconds before the next attempt; it doubles in between.
    :param remedy: what to change, one sentence.
    :param quiet: whether everything that one does in this mailbox counts, and not only what was refused.
    """

    name: str
    words: re.Pattern[str]
    pause: tuple[float, float]
    remedy: str
    quiet: bool = True


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


LIMITS = (
    Limit(
        "throttled",
        _words(
            r"\[THROTTLED\]",  # Gmail
            r"request is throttled|suggested backoff",  # Office 365: "BAD Request is throttled. Suggested Backoff …"
            r"exceeded command or bandwidth limits",  # Gmail, with [OVERQUOTA] or [ALERT], also as BYE; up to a day
            r"lockdown in sector",  # Gmail: "Lockdown in sector 4 (Failure)"; up to a day
            r"rate limit hit",  # Yahoo: "[LIMIT] CAPABILITY Rate limit hit."
            r"too many (?:invalid )?(?:commands|requests|login attempts|auth(?:entication)? attempts)",
        ),
        (300.0, 3600.0),
        "Nothing needs to be changed if this passes by itself: the server slows this account or machine down. If it "
        "comes back, use a longer poll_interval, fewer programs on this mailbox, or ask for a higher limit.",
    ),
    Limit(
        "connections",
        _words(
            r"too many (?:simultaneous|open|concurrent|active|imap)? ?(?:connections|sessions)",  # Gmail: 15 an account
            r"max(?:imum)?(?: number of)? connections?\b|connection limit",  # Dovecot's 10 a user and address, Courier
            r"mail_max_userip_connections",
            r"\[LIMIT\]",  # RFC 9051, Yahoo, Cyrus
        ),
        (60.0, 900.0),
        "Close other programs on this account, watch fewer of its folders, or raise the server's limit. Gmail allows "
        "15 connections an account, Dovecot 10 a user and address unless mail_max_userip_connections says otherwise.",
    ),
    Limit(
        "full",
        _words(r"\[OVERQUOTA\]"),
        (300.0, 3600.0),
        "Delete mails or raise the mailbox's quota: it is full.",
        quiet=False,
    ),
    Limit(
        "busy",
        _words(
            r"\[(?:UNAVAILABLE|SERVERBUG|INUSE)\]",  # iCloud: "BAD [UNAVAILABLE] Service temporarily unavailable"
            r"server (?:is )?(?:too )?busy|server unavailable",  # Exchange: "NO Server Unavailable. 15"
            r"service temporarily unavailable",
        ),
        (30.0, 600.0),
        "Nothing needs to be changed here: the server has trouble of its own, and it goes on by itself.",
    ),
    Limit(
        "backend",
        _words(
            r"authenticated but not connected",  # Exchange and Office 365, after a login that went well
            r"connection (?:is )?closed\. 1\d\b",  # their BYE: "Connection is closed. 13", "Connection closed. 14"
        ),
        (60.0, 900.0),
        # With a token this is also what a wrong Alias and missing permission get: XOAUTH2 succeeds all the same.
        "Check Alias (alias), Username (login), and that this user or application has Full Access to the mailbox. IMAP "
        "must be switched on for it. If it comes and goes, Exchange counts too many sessions or requests: watch fewer "
        "folders, and use a longer poll_interval.",
    ),
)
"""In the order in which they are looked for: the more telling words first, since one answer may hold several."""

_SUGGESTED = re.compile(r"backoff time: *(\d{1,9}) *milliseconds", re.IGNORECASE)


def recognise(words: str) -> Limit | None:
    """The limit that a server's words speak of, if they do."""
    return next((limit for limit in LIMITS if limit.words.search(words)), None)


def suggested_pause(words: str) -> float | None:
    """The pause in seconds that the server itself suggests (Office 365), if it does; at most an hour."""
    found = _SUGGESTED.search(words)
    return min(int(found[1]) / 1000, LONGEST_SUGGESTION) if found else None
