"""What a watcher says of its connection: one state, and one line in the log for each change of it.

An outage is over with the first complete reading and not with the first login, since a server that takes logins and
drops sessions is not well; until then each kind of error is said once, however often it is met.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import datetime

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.transport.clock import Clock

__all__ = ["CONNECTING", "Reporter", "WatcherState"]

log = logging.getLogger("airflow_imap_provider.mailbox.watcher")

CONNECTING = "connecting"
"""The first state's error: nothing has gone wrong yet."""

KINDS = 5
"""Kinds of errors of one outage that are logged: a server may have endless variations."""

_NUMBERS = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class WatcherState:
    """What an operator wants to know.

    :param since: when the state was reached; an outage keeps its beginning, whatever its errors are.
    :param error: why there is no connection; empty while there is one.
    """

    connected: bool
    since: datetime
    error: str = ""


class Reporter:
    """Keeps and reports the state of one watcher.

    :param name: the folder and the connection, for the log.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.state = WatcherState(connected=False, since=clock.now(), error=CONNECTING)
        self._name, self._clock = name, clock
        self._said: set[str] = set()

    def connected(self, host: str) -> None:
        """There is a connection."""
        self.state = WatcherState(connected=True, since=self._clock.now())
        if not self._said:
            log.info("watching %s (%s)", self._name, host)

    def well(self) -> None:
        """The folder was read."""
        if self._said:
            self._said.clear()
            log.info("watching %s again", self._name)

    def failed(self, error: ImapError, delay: float) -> None:
        """There is no connection, and the next attempt is so many seconds away."""
        kind = _without_numbers(str(error))
        if kind not in self._said and len(self._said) < KINDS:
            self._said.add(kind)
            log.error("not watching %s: %s Trying again in %.0f s, and so on.", self._name, error, delay)
        if self.state.connected:
            self.state = WatcherState(connected=False, since=self._clock.now(), error=str(error))
        elif _without_numbers(self.state.error) != kind:
            self.state = replace(self.state, error=str(error))


def _without_numbers(text: str) -> str:
    """An error without what differs from one attempt to the next: ports, seconds, session numbers."""
    return _NUMBERS.sub("#", text)
