"""Notices that a consumer has not taken what was told, and says when to wake it once more.

Airflow's scheduler may leave asset events without a DAG run (apache/airflow issue 56050), and a DAG that was paused
gets none for what it missed. Consumers keep a record of what they took in the asset's state store. While the newest
event that was told is missing in one of them, an event without mails is due: after a minute, then at growing intervals.
When all is taken nothing is read and nothing is sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.mailbox.taking import Record
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.triggers.store import CONSUMERS, AssetStore, Stream, consumer_key

__all__ = ["Nudge"]

FIRST = 60.0
"""Seconds after a commit until the consumers' records are looked at."""

LONGEST = 3600.0
"""Seconds between two nudges at most."""

MANY = 12
"""Nudges after which somebody who still lacks the same is nudged once a day only: a DAG that was paused for long,
deleted or renamed."""

DAILY = 86_400.0

FORGET = timedelta(days=30)
"""A consumer that was not seen for so long was deleted or renamed; any later mail wakes it all the same."""


class Nudge:
    """Keeps watch over one stream's newest event."""

    def __init__(self, store: AssetStore, stream: Stream, clock: Clock) -> None:
        self._store, self._stream, self._clock = store, stream, clock
        self._expected: tuple[str, int] | None = None
        self._check_at: float | None = None
        self._interval = FIRST
        self._lacking: frozenset[str] = frozenset()
        self._nudges = 0
        self._next_at = 0.0

    def expect(self, place: Place) -> bool:
        """A place was committed; return whether there is a newer event to keep watch over."""
        expected = (place.told_in, place.told_uid)
        if not place.told_uid:
            # A new epoch, of which nothing was told yet; its first event wakes everybody, whatever they lack.
            self._check_at = None
            return False
        if expected == self._expected:
            return False
        self._expected = expected
        self._check_at = self._clock.monotonic() + FIRST
        return True

    def next_in(self) -> float | None:
        """Return the seconds until the records should be looked at, or ``None`` if all is taken."""
        return None if self._check_at is None else max(self._check_at - self._clock.monotonic(), 0.0)

    async def due(self, place: Place) -> bool:
        """Return whether an event without mails is due now.

        :param place: the stored place.
        """
        if self._check_at is None or self._clock.monotonic() < self._check_at:
            return False
        now, lacking = self._clock.monotonic(), await self._who_lacks(place)
        if not lacking:
            self._check_at, self._lacking = None, frozenset()
            return False
        if not lacking <= self._lacking:
            # Somebody new: no reason to wait as long as for the others.
            self._interval, self._nudges, self._next_at = FIRST, 0, 0.0
        self._lacking = lacking
        if now < self._next_at:
            self._check_at = self._next_at
            return False
        self._nudges += 1
        self._next_at = self._check_at = now + (DAILY if self._nudges >= MANY else self._interval)
        self._interval = min(self._interval * 2, LONGEST)
        return True

    async def _who_lacks(self, place: Place) -> frozenset[str]:
        lacking = set()
        since = self._clock.now() - FORGET
        for asset, consumers in enumerate(await self._store.read(CONSUMERS)):
            for name, consumer in (consumers or {}).items():
                if datetime.fromisoformat(consumer["seen"]) < since:
                    continue
                key = consumer_key(consumer["dag_id"], consumer["task_id"])
                # A consumer that came later does not go back to this event; having seen a nudge for it settles that.
                record = (await self._store.read(key))[asset]
                if not Record.covers(record, self._stream.name, place.told_in, place.told_uid):
                    lacking.add(name)
        return frozenset(lacking)
