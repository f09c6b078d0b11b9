"""The bounds and default numbers of a connection, each with its reason."""

from __future__ import annotations

__all__ = [
    "DEFAULT_TIMEOUT",
    "HIGHEST_PORT",
    "HIGHEST_TIMEOUT",
    "IMPLICIT_PORT",
    "LONGEST_URL",
    "LOWEST_PORT",
    "LOWEST_TIMEOUT",
    "PLAIN_PORT",
    "SHOWN_CHARACTERS",
    "SOCKS_PORT",
]

IMPLICIT_PORT = 993  # imaps (RFC 8314): TLS from the first byte
PLAIN_PORT = 143  # imap (RFC 9051): STARTTLS, or no encryption
SOCKS_PORT = 1080  # the only one registered for SOCKS
LOWEST_PORT, HIGHEST_PORT = 1, 65535  # TCP's; 0 means "any" to a socket and nothing to a server

DEFAULT_TIMEOUT = 60.0  # seconds: a busy server behind a proxy answers well within; a dead one is noticed in a minute
LOWEST_TIMEOUT = 1  # seconds: below this a TLS handshake to another continent fails on a good day
HIGHEST_TIMEOUT = 3600  # seconds: beyond an hour a limit protects nobody

LONGEST_URL = 8000  # characters: what every server should take (RFC 9110 section 4.1)

SHOWN_CHARACTERS = 80  # of a wrong value in an error: enough to recognise it, short enough for Airflow's toast
