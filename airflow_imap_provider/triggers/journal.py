"""The journal: what was told, kept in the asset's state store until every consumer had the time to take it.

Events wake consumers; what they take stands here. Airflow's own event log cannot serve as the queue: it cannot be read
while any event in it has a DAG run that has not started yet (the API answers 500, ``DagRunAssetReference.start_date``
in 3.3.2), which is the normal case in a burst.

Each trigger instance appends to a journal of its own and never changes an entry, so that two triggerers that run the
same trigger for a while (a fail-over) cannot damage each other's; the ranges of UIDs tell repetitions. An index names
the journals of an asset.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.mailbox.taking import Entry, Record
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.triggers.journal_index import Journals, dumped, listed
from airflow_imap_provider.triggers.store import JOURNALS, AssetStore, Stream, journal_key

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

__all__ = ["Journal", "begin", "entries", "entry", "passed_over"]

RETENTION = timedelta(days=30)
"""How long entries are kept: the longest pause of a consumer, and how long runs can be cleared."""

ROLL = timedelta(days=7)
"""How long one journal is written: what has to be kept is dropped journal by journal."""

SWEEP = 50
"""Old entries that are dropped after a commit, at most: more than a commit adds."""

RECENT = 8
"""Journals of this instance that are looked up in the index, oldest dropped: their entries may not be committed yet."""

LAST_WORDS = timedelta(days=1)
"""How long a journal is still looked at after another one took over: its triggerer may only have been frozen."""


class Journal:
    """The journals of one trigger instance, one after the other. The first begins with the first entry."""

    def __init__(self, store: AssetStore, stream: Stream, clock: Clock) -> None:
        self._store, self._stream, self._clock = store, stream, clock
        self._id = ""
        self._next = 0
        self._since = clock.now()
        self._recent: dict[str, datetime] = {}
        self._lock = asyncio.Lock()

    async def append(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Store an event's payload durably and return it with its place in the journal.

        :raises Exception: whatever Airflow raises. An entry that somebody may have seen is never changed: where it is
            not known whether it was written, the next attempt goes to a new journal.
        """
        async with self._lock:
            now = self._clock.now()
            if not self._id or now - self._since > ROLL:
                self._id, self._next, self._since = secrets.token_hex(6), 0, now
            told = {**payload, "at": now.isoformat(), "journal": [self._id, self._next]}
            # The entry comes before the index: an inactive asset refuses it, while its index would only look empty.
            try:
                await self._store.write(journal_key(self._id, self._next), told)
            except BaseException:
                if self._next:
                    self._id = ""  # perhaps it was written, and read: it must not change any more
                raise
            self._recent[self._id] = self._since
            try:
                closed = await self._enlist()
            except BaseException:
                self._id = ""
                raise
            self._next += 1
            if closed:
                # Another triggerer took this stream over, and this one was only frozen: consumers look at the journal
                # for a while still, but not for ever.
                self._id = ""
            return told

    async def enlist(self) -> None:
        """Make sure that consumers can find what was written here.

        Another trigger of the asset may write the index in the same moment, and know nothing of this journal. So it is
        looked up again with every entry, and once more before a place is committed: seconds later.
        """
        async with self._lock:
            await self._enlist()

    async def _enlist(self) -> bool:
        """Enter the newest journals into the index unless they are there; return whether somebody closed the last."""
        while len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        now, index = self._clock.now(), await self._index()
        known = {journal["id"]: journal for journal in index}
        missing = [
            {
                "id": name,
                "stream": self._stream.name,
                "since": since.isoformat(),
                "ended": "" if name == self._id else now.isoformat(),
            }
            for name, since in self._recent.items()
            if name not in known
        ]
        if missing:
            await self._store.write(JOURNALS, dumped([*(self._closed(journal, now) for journal in index), *missing]))
        return bool(self._id in known and known[self._id]["ended"])

    def _closed(self, journal: dict[str, str], now: datetime) -> dict[str, str]:
        """Mark a journal as ended that this one follows, or whose stream is gone."""
        superseded = journal["stream"] == self._stream.name and journal["id"] != self._id
        forgotten = datetime.fromisoformat(journal["since"]) < now - 3 * ROLL
        return {**journal, "ended": now.isoformat()} if not journal["ended"] and (superseded or forgotten) else journal

    async def sweep(self) -> None:
        """Drop a few of the entries that have been kept long enough."""
        limit = self._clock.now() - RETENTION
        for journal in await self._index():
            if journal["ended"] and datetime.fromisoformat(journal["ended"]) < limit:
                if await self._drop_last_entries(journal["id"]):
                    async with self._lock:
                        rest = [other for other in await self._index() if other["id"] != journal["id"]]
                        await self._store.write(JOURNALS, dumped(rest))
                return

    async def _drop_last_entries(self, journal: str) -> bool:
        """Delete from the end, so that what is left is always a beginning; return whether nothing is left."""
        count, step = 0, 1
        while await self._has(journal, count + step - 1):
            count, step = count + step, step * 2
        while step > 1:
            step //= 2
            if await self._has(journal, count + step - 1):
                count += step
        for number in range(count - 1, max(count - SWEEP, 0) - 1, -1):
            await self._store.delete(journal_key(journal, number))
        return count <= SWEEP

    async def _has(self, journal: str, number: int) -> bool:
        return any(await self._store.read(journal_key(journal, number)))

    async def _index(self) -> Journals:
        """Return the journals of all assets of this trigger; one that another asset lacks does no harm there."""
        merged: dict[str, dict[str, str]] = {}
        for index in await self._store.read(JOURNALS):
            for journal in listed(index):
                merged.setdefault(journal["id"], journal)
        return list(merged.values())


def entries(store: AssetStateStoreAccessor, record: Record, now: datetime) -> Iterator[Entry]:
    """Go through the entries that a consumer has not seen, journal by journal, each in the order of writing.

    :param store: the asset's state store, in a task.
    :param record: the consumer's record. From its positions journals that are gone are dropped, and those that have
        ended and were read to their end are marked with -1.
    """
    index = listed(store.get(JOURNALS))
    for gone in set(record.positions) - {journal["id"] for journal in index}:
        del record.positions[gone]
    for journal in index:
        if record.begin is not None and _over(journal, record.begin):
            continue
        number = record.positions.setdefault(journal["id"], record.starts.get(journal["id"], 0))
        if number < 0:
            continue
        while (found := entry(store, journal["id"], number)) is not None:
            yield found
            number += 1
        if _over(journal, now):
            record.positions[journal["id"]] = -1


def begin(store: AssetStateStoreAccessor, record: Record, moment: datetime, before: Callable[[Entry], bool]) -> None:
    """Let a consumer begin, or begin earlier than it did: from each journal's first entry on that is not too old.

    Journals that are not there yet are its own from their first entry on: they cannot hold anything older.

    :param moment: about when it begins.
    :param before: tells whether an entry is too old.
    """
    index = listed(store.get(JOURNALS))
    moment, starts = min(moment, record.begin or moment), {}
    for journal in index:
        if _over(journal, moment):
            continue
        # One that it has seen before is not too old anywhere from its start on.
        seen = record.begin is not None and not _over(journal, record.begin)
        limit = record.starts.get(journal["id"], 0) if seen else None
        number = 0
        while number != limit and (found := entry(store, journal["id"], number)) is not None and before(found):
            number += 1
        if number:
            starts[journal["id"]] = number
    # What it has read already is looked at again: what was taken is known by its UID.
    record.begin, record.starts, record.positions = moment, starts, {}


def passed_over(record: Record, told: Entry) -> bool:
    """Tell whether an entry is older than what the consumer has begun with."""
    if record.begin is not None and told.at + LAST_WORDS < record.begin:
        return True
    return told.number < record.starts.get(told.journal, 0)


def _over(journal: dict[str, str], moment: datetime) -> bool:
    """Tell whether a journal had ended long before a moment."""
    return bool(journal["ended"]) and datetime.fromisoformat(journal["ended"]) + LAST_WORDS < moment


def entry(store: AssetStateStoreAccessor, journal: str, number: int) -> Entry | None:
    """Return one entry, or ``None`` if it is not there (yet, or any more)."""
    payload: Any = store.get(journal_key(journal, number))
    return None if payload is None else Entry(journal, number, payload)
