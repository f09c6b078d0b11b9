"""One clock and one deadline, passed in, so that time can be tested.

Opening a session has a single total budget; each later answer has one of its own; where somebody waits for the whole
(the Test button), one stands over them all. Each is a :class:`Deadline`, which is asked again before every wait: no
sequence of small waits can take longer than the whole.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol

from airflow_imap_provider.errors import ImapTimeoutError
from airflow_imap_provider.transport.remedies import silence_remedy

__all__ = ["SYSTEM_CLOCK", "Clock", "Deadline"]


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...


class _SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)


SYSTEM_CLOCK: Clock = _SystemClock()


class Deadline:
    """A moment by which something must be over.

    :param clock: the clock that it is measured with.
    :param seconds: time from now.
    :param within: the deadline of the whole that this is a part of, which ends this one too, extended or not.
    """

    __slots__ = ("_clock", "_end", "_seconds", "within")

    def __init__(self, clock: Clock, seconds: float, within: Deadline | None = None) -> None:
        self.within = within
        self._clock = clock
        self._seconds = seconds
        self._end = clock.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; less than zero when it is over."""
        own = self._end - self._clock.monotonic()
        return own if self.within is None else min(own, self.within.left)

    def remaining(self, stage: str, remedy: str = "") -> float:
        """Seconds left, more than zero.

        :param stage: what is being waited for; the error names it.
        :param remedy: what the error suggests; what is usual at this stage when left out.
        :raises ImapTimeoutError: when it is over.
        """
        left = self.left
        if left <= 0:
            raise self.missed(stage, remedy)
        return left

    def part(self, parts: int, stage: str, remedy: str = "") -> Deadline:
        """A deadline for the next of so many attempts that share the time left.

        :raises ImapTimeoutError: when it is over.
        """
        return Deadline(self._clock, self.remaining(stage, remedy) / parts)

    def missed(self, stage: str, remedy: str = "", what: str = "no complete answer") -> ImapTimeoutError:
        """The error for a wait that this deadline ended, or the one that it is within.

        :param what: did not come.
        """
        if self.within is not None and self.within.left < self._end - self._clock.monotonic():
            return self.within.missed(stage, remedy, what)
        return ImapTimeoutError(
            f"{what} within {self._seconds:.3g} s.", stage=stage, remedy=remedy or silence_remedy(stage)
        )

    def extend(self, seconds: float) -> None:
        """Move the deadline away by so many seconds."""
        self._end += seconds
