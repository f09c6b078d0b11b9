"""Every number that bounds what a server may send us, and what we send to it, each with its reason."""

from __future__ import annotations

__all__ = [
    "GREETING_PATIENCE",
    "LOGOUT_LIMIT",
    "MAX_ANSWER_BYTES",
    "MAX_COMMAND_BYTES",
    "MAX_LINE_BYTES",
    "MAX_LITERAL_BYTES",
    "MAX_REPLY_CHARACTERS",
    "MIN_BYTES_PER_SECOND",
    "MIN_HIDDEN_CHARACTERS",
    "RECEIVE_BYTES",
    "STRANGER_LIMIT",
    "SURELY",
]

RECEIVE_BYTES = 64 * 1024
"""Bytes asked for by one read: four TLS records, and no memory worth naming when thousands of sessions idle."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""The longest line: a SEARCH answer with two million hits. imaplib's own cap of 1 MB ends at 143,000 hits."""

MAX_LITERAL_BYTES = 256 * 1024 * 1024
"""The largest literal: above what any known provider delivers (150 MB). A claim costs no memory, only bytes do."""

MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""All bytes of one answer, untagged responses included: it is held in memory until its end."""

MIN_BYTES_PER_SECOND = 64 * 1024
"""The rate that earns time: an answer may take the connection's timeout plus a second for so many bytes received.

A large attachment on a slow line is not cut off, and a server that drips a byte now and then cannot hold us."""

MAX_COMMAND_BYTES = 8000
"""The longest command line: what servers must accept (RFC 7162 section 4); Dovecot answers BAD to far longer ones."""

MAX_REPLY_CHARACTERS = 300
"""How much of the server's words an error repeats."""

MIN_HIDDEN_CHARACTERS = 24
"""From this length on a response of ours is taken out of the server's words: shorter ones (a bare user name) prove
nothing, and would tear holes into what the server says."""

LOGOUT_LIMIT = 5.0
"""Seconds for a polite goodbye; whoever waits for it has all that was wanted already."""

GREETING_PATIENCE = 3.0
"""Seconds of silence until a Test asks who it is that does not greet: IMAP servers greet within milliseconds. Slow ones
(that look up our name first) are only asked, on other connections, and waited for as before."""

STRANGER_LIMIT = 2.0
"""Seconds for each answer to that: whoever understands the question answers at once."""

SURELY = 0.9
"""The share of an announced size that must come: Exchange reckons sizes, and is wrong by a few parts in a hundred; and
who counts a line end as two bytes and gives one is short by one in seventy-eight in base64."""
