"""What goes wrong with Airflow's own API, said for all streams of a process together.

While it is away, each of ten thousand streams finds that out for itself, again and again. The first lines of a minute
say it, and how many more there would have been.
"""

from __future__ import annotations

import logging

from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock

__all__ = ["Complaints", "complain", "first_line"]

log = logging.getLogger(__name__)

MOST = 10
"""Lines in a minute."""
MINUTE = 60.0


class Complaints:
    """At most so many lines a minute. Everything here happens in the thread of the event loop."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._begun = -MINUTE
        self._said = self._left_out = 0

    def warn(self, what: str, error: BaseException) -> None:
        """Log that something failed, unless that was said often enough."""
        now = self._clock.monotonic()
        if now - self._begun >= MINUTE:
            if self._left_out:
                log.warning("%d more lines like the ones before were left out", self._left_out)
            self._begun, self._said, self._left_out = now, 0, 0
        if self._said == MOST:
            self._left_out += 1
            return
        self._said += 1
        log.warning("%s: %s", what, first_line(error))


complain = Complaints().warn
"""For whatever concerns Airflow's API in this process."""


def first_line(error: BaseException) -> str:
    """Return an error's kind and the first line of its text: Airflow's run over many."""
    lines: list[str] = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
