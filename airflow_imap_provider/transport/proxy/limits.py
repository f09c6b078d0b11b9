"""Every number that bounds what a proxy may make us do, each with its reason."""

from __future__ import annotations

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_CHUNK_LINE_BYTES",
    "MAX_GREETING_BYTES",
    "MAX_HEAD_BYTES",
    "MAX_INTERIM_ANSWERS",
    "MAX_SOCKS5_TEXT_BYTES",
    "MAX_STALE_NONCES",
]

MAX_HEAD_BYTES = 64 * 1024
"""Status line and headers of one answer; what servers commonly accept of a client's is 8 to 64 KiB."""

MAX_BODY_BYTES = 1024 * 1024
"""The page that comes with a 407 and is skipped: error pages have a few KiB, and a new connection is cheaper then."""

MAX_CHUNK_LINE_BYTES = 1024
"""A line of a chunked body other than its data: a size, seldom an extension or a trailer."""

MAX_GREETING_BYTES = 512
"""The first line of who is no proxy: what SMTP allows (RFC 5321 section 4.5.3.1.5), and more than SSH does."""

MAX_INTERIM_ANSWERS = 8
"""Answers with 1xx before the real one; one ("100 Continue") is already unusual."""

MAX_SOCKS5_TEXT_BYTES = 255
"""Username, password and host name in SOCKS5: one byte holds the length (RFC 1928, RFC 1929)."""

MAX_STALE_NONCES = 2
"""Fresh nonces of Digest in one handshake: one is usual, two could be a race between two of a proxy's machines."""
