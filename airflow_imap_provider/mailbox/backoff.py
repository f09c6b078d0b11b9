"""How long to wait before the next attempt to reach a server."""

from __future__ import annotations

import random

from airflow_imap_provider.errors import AuthenticationError, SettingsError

__all__ = ["Backoff"]


class Backoff:
    """How long to wait before the next attempt.

    Doubles from one second to a minute, with jitter so that a thousand mailboxes do not come back at once. A refused
    login or a wrong setting waits longer, since servers lock accounts and nobody mends a form within seconds.
    """

    NETWORK = (1.0, 60.0)
    REFUSED = (30.0, 900.0)
    JITTER = 0.3

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """After a complete catch-up, and only then: a server that takes logins and drops sessions is not well."""
        self._failures = 0

    def next(self, error: BaseException) -> float:
        """Return the seconds to wait after ``error``."""
        first, most = self.REFUSED if isinstance(error, (AuthenticationError, SettingsError)) else self.NETWORK
        delay = min(first * 2.0 ** min(self._failures, 20), most)
        self._failures += 1
        return delay * random.uniform(1 - self.JITTER, 1 + self.JITTER)
