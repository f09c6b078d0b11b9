"""How long to wait before the next attempt to reach a server."""

from __future__ import annotations

import random

from airflow_imap_provider.errors import (
    AuthenticationError,
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    SettingsError,
)
from airflow_imap_provider.transport.throttling import recognise, suggested_pause

__all__ = ["Backoff"]


class Backoff:
    """How long to wait before the next attempt.

    Doubles from one second to a minute, with jitter so that a thousand mailboxes do not come back at once. A refused
    login or a wrong setting waits longer, since servers lock accounts and nobody mends a form within seconds. A server
    that says it has had enough is given the time that its words call for, and never less than it asks for. One that
    hangs up or falls silent when it has got the password is taken for one that is being started anew, and after a few
    times for one that refuses the login without a word.
    """

    NETWORK = (1.0, 60.0)
    REFUSED = (30.0, 900.0)
    JITTER = 0.3
    QUIET_ENDS = 2
    """Logins without an answer that count as trouble of the network. A server that is restarted ends the logins that
    are under way, once; one more is for a second machine behind the same name. From then on each may be counted
    against the account as a wrong password."""

    def __init__(self) -> None:
        self.failures = 0
        """How many attempts have failed one after the other."""
        self.unanswered = 0
        """How many logins since the last success got no answer."""

    def reset(self) -> None:
        """After a complete catch-up, and only then: a server that takes logins and drops sessions is not well."""
        self.failures = 0
        self.unanswered = 0

    def next(self, error: BaseException) -> float:
        """Return the seconds to wait after ``error``."""
        reply = error.reply if isinstance(error, ImapError) else ""
        if (suggested := suggested_pause(reply)) is not None:
            # Jitter only upwards: the server has said how long it does not want to hear of us.
            return max(suggested, self._doubled(self.NETWORK)) * random.uniform(1, 1 + self.JITTER)
        limit = recognise(reply)
        if self._is_unanswered(error):
            self.unanswered += 1
        refused = isinstance(error, (AuthenticationError, SettingsError)) or (
            limit is None and self._is_unanswered(error) and self.unanswered > self.QUIET_ENDS
        )
        # Whatever the words of a refused login are, it is never tried faster than other refused logins.
        bounds = self.REFUSED if refused else limit.pause if limit is not None else self.NETWORK
        return self._doubled(bounds) * random.uniform(1 - self.JITTER, 1 + self.JITTER)

    @staticmethod
    def _is_unanswered(error: BaseException) -> bool:
        return isinstance(error, (LostConnectionError, ImapTimeoutError)) and error.stage == "authentication"

    def _doubled(self, bounds: tuple[float, float]) -> float:
        first, most = bounds
        delay = min(first * 2.0 ** min(self.failures, 20), most)
        self.failures += 1
        return delay
