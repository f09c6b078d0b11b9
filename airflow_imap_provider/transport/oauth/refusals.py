"""Which mailboxes a token fresh from the endpoint did not open lately: no other token would help them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from airflow_imap_provider.transport.oauth.limits import CACHED_TOKENS, REFUSAL_COUNTS

__all__ = ["Refusals"]

Mailbox = tuple[bytes, str, str]


class Refusals:
    """When each was; a mailbox is what its token is asked for with, its server, and its name there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: OrderedDict[Mailbox, float] = OrderedDict()

    def add(self, mailbox: Mailbox, now: float) -> None:
        """It was refused.

        :param now: by the monotonic clock, seconds.
        """
        with self._lock:
            self._times[mailbox] = now
            self._times.move_to_end(mailbox)
            while len(self._times) > CACHED_TOKENS:
                self._times.popitem(last=False)

    def counts(self, mailbox: Mailbox, now: float) -> bool:
        """Whether that was not long ago."""
        with self._lock:
            then = self._times.get(mailbox)
            return then is not None and now - then < REFUSAL_COUNTS
