"""Whose first words these are: servers of other protocols that somebody took for a mail server or a proxy."""

from __future__ import annotations

import re

__all__ = ["IMAP", "TLS", "WEB", "speaker", "words_of"]

IMAP, TLS, WEB = "an IMAP server", "a server that speaks TLS", "a web server"

_SPEAKERS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), who)
    for pattern, who in (
        (rb"\* (?:OK|PREAUTH|BYE)\b", IMAP),
        (rb"(?:220|421|554)[ -].*\bE?SMTP\b", "an SMTP server, which takes mail and gives none out"),
        (rb"(?:220|421)[ -].*FTP", "an FTP server"),
        (rb"(?:220|421|554)[ -]", "an SMTP or FTP server"),
        (rb"(?:\+OK|-ERR)\b", "a POP3 server"),
        (rb"SSH-\d", "an SSH server"),
        (rb'"IMPLEMENTATION"', "a ManageSieve server, which keeps filter rules"),
        (rb"HTTP/\d", WEB),
        (rb"[\x15\x16]\x03[\x00-\x04]?", TLS),  # an alert, a handshake message
    )
)


_CAPABILITIES = re.compile(r"\[CAPABILITY [^]]*\] *", re.IGNORECASE)


def words_of(greeting: str) -> str:
    """A greeting without the capabilities in it, which leave no room for what it says."""
    return _CAPABILITIES.sub("", greeting)


def speaker(words: bytes) -> str:
    """Who greets, or answers, like this.

    :param words: the first line, or what there is of it.
    :returns: words for a message; empty if nobody is known to speak so.
    """
    return next((who for pattern, who in _SPEAKERS if pattern.match(words)), "")
