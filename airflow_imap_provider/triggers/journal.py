"""The journal: what was told, kept in the asset's state store until every consumer had the time to take it.

Events wake consumers; what they take stands here. Airflow's own event log cannot serve as the queue: it cannot be read
while any event in it has a DAG run that has not started yet (the API answers 500, ``DagRunAssetReference.start_date``
in 3.3.2), which is the normal case in a burst.

Each trigger instance appends to a journal of its own and never changes an entry, so that two triggerers that run the
same trigger for a while (a fail-over) cannot damage each other's; the ranges of UIDs tell repetitions. An index names
the journals of an asset.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.mailbox.taking import Entry
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.triggers.store import JOURNALS, AssetStore, Stream, journal_key

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

__all__ = ["Journal", "entries", "entry"]

RETENTION = timedelta(days=30)
"""How long entries are kept: the longest pause of a consumer, and how long runs can be cleared."""

ROLL = timedelta(days=1)
"""How long one journal is written: what has to be kept is dropped journal by journal."""

LAST_WORDS = timedelta(days=1)
"""How long a journal is still looked at after another one took over: its triggerer may only have been frozen."""


class Journal:
    """The journal of one trigger instance. It begins with its first entry."""

    def __init__(self, store: AssetStore, stream: Stream, clock: Clock) -> None:
        self._store, self._stream, self._clock = store, stream, clock
        self._id = ""
        self._next = 0
        self._since = clock.now()

    async def append(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Store an event's payload durably and return it with its place in the journal.

        :raises Exception: whatever Airflow raises; the next attempt goes to a new journal, since it is not known
            whether this one has the entry.
        """
        try:
            now = self._clock.now()
            if not self._id or now - self._since > ROLL:
                await self._begin()
            told = {**payload, "at": now.isoformat(), "journal": [self._id, self._next]}
            await self._store.write(journal_key(self._id, self._next), told)
        except BaseException:
            self._id, self._next = "", 0
            raise
        self._next += 1
        return told

    async def _begin(self) -> None:
        """Enter a new journal into the index, close this stream's older ones, and drop what nobody needs any more."""
        new, now = secrets.token_hex(6), self._clock.now()
        # Another trigger of the asset may write the index in the same moment: look whether the entry is there.
        for _ in range(3):
            index = await self._index()
            kept = []
            for journal in index:
                closed = journal
                if journal["stream"] == self._stream.name and not journal["ended"]:
                    closed = {**journal, "ended": now.isoformat()}
                if not closed["ended"] or datetime.fromisoformat(closed["ended"]) > now - RETENTION:
                    kept.append(closed)
                else:
                    await self._remove(closed["id"])
            own = {"id": new, "stream": self._stream.name, "since": now.isoformat(), "ended": ""}
            await self._store.write(JOURNALS, [*kept, own])
            if any(journal["id"] == new for journal in await self._index()):
                break
        self._id, self._next, self._since = new, 0, now

    async def _index(self) -> list[dict[str, Any]]:
        """Return the journals of all assets of this trigger; one that another asset lacks does no harm there."""
        merged: dict[str, dict[str, Any]] = {}
        for index in await self._store.read(JOURNALS):
            for journal in index or ():
                merged.setdefault(journal["id"], journal)
        return list(merged.values())

    async def _remove(self, journal: str) -> None:
        number = 0
        while any(await self._store.read(journal_key(journal, number))):
            await self._store.delete(journal_key(journal, number))
            number += 1


def entries(store: AssetStateStoreAccessor, positions: dict[str, int], now: datetime) -> Iterator[Entry]:
    """Go through the entries that a consumer has not seen, journal by journal, each in the order of writing.

    :param store: the asset's state store, in a task.
    :param positions: by journal, the number of the next entry; -1 if the journal has ended and was read to its end.
        Journals that are gone are dropped from it, and finished ones are marked.
    """
    index: Any = store.get(JOURNALS) or []
    for gone in set(positions) - {journal["id"] for journal in index}:
        del positions[gone]
    for journal in index:
        number = positions.setdefault(journal["id"], 0)
        if number < 0:
            continue
        while (found := entry(store, journal["id"], number)) is not None:
            yield found
            number += 1
        ended = journal["ended"] and datetime.fromisoformat(journal["ended"])
        if ended and ended < now - LAST_WORDS:
            positions[journal["id"]] = -1


def entry(store: AssetStateStoreAccessor, journal: str, number: int) -> Entry | None:
    """Return one entry, or ``None`` if it is not there (yet, or any more)."""
    payload: Any = store.get(journal_key(journal, number))
    return None if payload is None else Entry(journal, number, payload)
