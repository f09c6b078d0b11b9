"""Every number that bounds what is done with a token endpoint, each with its reason."""

from __future__ import annotations

__all__ = [
    "ASSERTION_LIFE",
    "CACHED_TOKENS",
    "DEFAULT_LIFE",
    "EARLY",
    "FAILURE_PAUSE",
    "FRESH",
    "KEEPER_CALLS",
    "LONGEST_LIFE",
    "LONGEST_PAUSE",
    "MAX_ANSWER_BYTES",
    "MAX_HEAD_BYTES",
    "MAX_TOKEN_CHARACTERS",
    "RACE_GLANCES",
    "RACE_PAUSE",
    "REFUSAL_COUNTS",
    "RENEWAL_PAUSE",
    "SERVICE_ACCOUNT_LIFE",
]

EARLY = 300.0
"""Seconds before its end at which a token is replaced: nobody logs in with one that ends on the way."""

RENEWAL_PAUSE = 30.0
"""Seconds between two attempts to renew a token that is still good: an endpoint that is silent costs each half of the
time to log in, and within EARLY there are ten."""

FAILURE_PAUSE = 5.0
"""Seconds that a failure counts for all who want the same token: many mailboxes that share one come back at once and
make one request of it, and who has mended the cause does not notice."""

LONGEST_PAUSE = 300.0
"""Seconds that an endpoint is believed when it asks to wait (Retry-After): Microsoft's and Google's say up to a few
minutes, and an hour by mistake must not keep mail for an hour."""

FRESH = 60.0
"""Seconds since its request within which a refused token is not replaced: another one would say the same. Permissions
that change meanwhile are found at a later attempt."""

REFUSAL_COUNTS = 600.0
"""Seconds that a mailbox remembers that a token fresh from the endpoint did not open it: until then a refusal costs one
login and no request. After that it asks once more, as permissions of an application stand in its tokens."""

DEFAULT_LIFE = 300.0
"""Seconds that a token is used whose life the endpoint does not tell (RFC 6749 section 5.1 allows that): short, as a
needless request costs less than a refused login."""

LONGEST_LIFE = 24 * 3600.0
"""Seconds; whatever an endpoint claims beyond, a token is replaced once a day."""

ASSERTION_LIFE = 300
"""Seconds that a signed assertion counts: it is used at once, and clocks may differ by minutes (RFC 7523 section 3)."""

SERVICE_ACCOUNT_LIFE = 3600
"""Seconds; Google takes no longer ones, and the token lives as long as it."""

MAX_HEAD_BYTES = 64 * 1024
"""Of an answer's header: Microsoft sends up to 4 KiB."""

MAX_ANSWER_BYTES = 256 * 1024
"""Of an answer in all: a token with a hundred groups in it has 20 KiB, and this is no place for downloads."""

MAX_TOKEN_CHARACTERS = 64 * 1024
"""Of an access or refresh token; mail servers take far less."""

CACHED_TOKENS = 20_000
"""Tokens kept: twice as many as one triggerer has mailboxes (10,000), each with a service account's token of its own;
2 KiB each."""

RACE_GLANCES, RACE_PAUSE = 12, 0.25
"""How often, and how many seconds apart, one looks for the refresh token that another process has just got: it needs
one request to Airflow's API server to store it, some 15 ms on a quiet machine."""

KEEPER_CALLS = 8
"""Questions to Airflow about refresh tokens that wait for an answer at once: the threads that a hanging Airflow holds,
besides the one that logs in. Airflow's channel answers one after the other anyway."""
