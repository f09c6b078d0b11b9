"""Moves a subscriber's stored place once its events are certainly in Airflow's database, and then has actions done.

The order is the promise: tell, confirm, commit, act. A place never passes a mail whose event may be missing. How the
place is written stands in ``stored_place.py``, how actions are done in ``acting.py``.

A committer knows both places, the stored one and the one from which reading goes on, and ends as a whole: a step of the
subscriber keeps to the one with which it began, and what it has read moves nothing once that has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_imap_provider.mailbox.place import Place, Todo
from airflow_imap_provider.mailbox.waiting import Signal
from airflow_imap_provider.mailbox.watcher import FolderWatcher
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.transport.session import FolderStatus
from airflow_imap_provider.triggers.acting import TROUBLE, Acting
from airflow_imap_provider.triggers.complaints import complain
from airflow_imap_provider.triggers.journal import Journal
from airflow_imap_provider.triggers.store import AssetStore, Stream
from airflow_imap_provider.triggers.stored_place import Owed, StoredPlace, SupersededError, patiently

__all__ = ["Committer", "Promise"]

log = logging.getLogger(__name__)

GRACE = 3.5
"""Seconds between the confirmation of an event and its commit, at least. Airflow confirms an event also when it dropped
it because the trigger's row had just gone (the DAG was paused or edited, ``Trigger.submit_event``); the cancellation
reaches the trigger within the next loops of the triggerer, which take about a second each. Three of them are waited
for."""

GRACE_FACTOR = 2.0
"""The grace in a busy triggerer, in times that telling took: an event's way to its confirmation is one to two loops."""

LAZY = 30.0
"""Seconds that a place may stay unwritten if it only passed mails nobody wants: a crash has them looked at again."""


@dataclass
class Promise:
    """One batch on its way to being committed.

    :param place: the place after the batch, without the actions that earlier batches still owe.
    :param todo: the actions that this batch owes.
    :param told_at: when its event was handed to Airflow, in the clock's seconds; ``None`` if there was nothing to tell.
    :param mails: how many mails its event has.
    """

    place: Place
    todo: tuple[Todo, ...]
    told_at: float | None
    committer: Committer
    mails: int = 0
    confirmed_at: float | None = None

    @property
    def silent(self) -> bool:
        """Whether it only passes mails that nobody wants."""
        return self.told_at is None and not self.todo

    def confirmed(self) -> None:
        """Airflow has stored the event, or says so."""
        self.confirmed_at = self.committer.clock.monotonic()
        self.committer.look()

    def revoked(self) -> None:
        """Airflow may not have stored the event."""
        self.committer.rewind()


class Committer:
    """Commits the promises of one subscriber in their order.

    :param committed: the stored place, with the actions that it still owes.
    :param on_commit: called with every place that was stored, and the number of told mails that it has passed.
    :param on_rewind: called when promises were revoked: reading goes on from the stored place.
    :param on_superseded: called when the stored place turns out to be of a later epoch: somebody has begun anew.
        Nothing is written over it, and this committer has ended.
    """

    def __init__(
        self,
        store: AssetStore,
        stream: Stream,
        committed: Place,
        watcher: FolderWatcher,
        journal: Journal,
        clock: Clock,
        on_commit: Callable[[Place, int], None],
        on_rewind: Callable[[], None],
        on_superseded: Callable[[], None],
    ) -> None:
        self.clock = clock
        self._name = stream.name
        self._stored = StoredPlace(store, stream, committed, clock)
        self._place = committed.paid
        self._ended = False
        self._acting = Acting(stream, self._stored, watcher, clock, self.look)
        self._journal = journal
        self._on_commit = on_commit
        self._on_rewind = on_rewind
        self._on_superseded = on_superseded
        self._queue: list[Promise] = []  # few: a deque would take 600 bytes
        self._in_flight: list[Promise] = []
        self._look = Signal()
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"imap4 commit {self._name}")

    @property
    def place(self) -> Place:
        """From where reading goes on."""
        return self._place

    def reads_from(self, place: Place) -> bool:
        """Whether what was read from ``place`` still counts: nobody has begun anew, or gone back, meanwhile."""
        return self._place is place and not self._ended

    def advance(self, before: Place, after: Place) -> bool:
        """Have reading go on from ``after`` if what was read from ``before`` counts; return whether it does."""
        if not self.reads_from(before):
            return False
        self._place = after
        return True

    @property
    def committed(self) -> Place:
        """The stored place, without what it owes."""
        return self._stored.place

    @property
    def told(self) -> int:
        """How many events are told and not committed."""
        return sum(promise.told_at is not None for promise in self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing is told and not committed, and no action is owed."""
        return not (self.told or self._stored.owed or self._in_flight)

    @property
    def trouble(self) -> dict[str, Any]:
        """What the health entry tells of actions: owed ones, given up ones since the start, and the last failure."""
        return self._acting.trouble

    def promise(self, place: Place, told_at: float | None, mails: int = 0) -> Promise:
        """Return the promise to commit ``place``; it counts once it was given to :meth:`append`."""
        return Promise(place.paid, place.todo, told_at, self, mails)

    def append(self, promise: Promise) -> None:
        """Take a promise. It is kept when Airflow has confirmed it, or at leisure if nothing was told."""
        if self._ended:
            return
        last = self._queue[-1] if self._queue else None
        mergeable = last is not None and last.silent and promise.silent and last not in self._in_flight
        if mergeable and last is not None and last.place.epoch == promise.place.epoch:
            last.place = promise.place
        else:
            self._queue.append(promise)
        self.look()

    def has_read(self, place: Place, opening: FolderStatus | None) -> None:
        """The folder was read up to ``place``, since that opening: only until the next one may be acted."""
        self._acting.has_read(place, opening)

    def knows(self, opening: FolderStatus | None) -> bool:
        """Whether the folder was read since that opening."""
        return self._acting.knows(opening)

    def look(self) -> None:
        """Something has changed: a confirmation, or the connection."""
        self._look.set()

    def rewind(self) -> None:
        """Forget all promises that are not kept yet; what they cover is read and told again."""
        if self._queue:
            log.warning("an event may not have been stored; its mails are told again")
            self._queue.clear()
            # What is being written will be written: going back behind it would tell and act twice.
            self._place = self._in_flight[-1].place if self._in_flight else self.committed
            self._on_rewind()

    async def stop(self) -> None:
        """Promises that are not kept by now are left: after a restart their mails are told again."""
        self._end()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._acting.stop()

    def _end(self) -> None:
        self._ended = True
        self._queue.clear()

    async def _work(self) -> None:
        while True:
            self._look.clear()
            try:
                pauses = [await self._commit_what_is_due(), await self._acting.act()]
            except SupersededError:
                log.warning("the stored place of %s is of a later epoch: going on from there", self._name)
                self._end()
                self._on_superseded()
                await self._acting.stop()
                return
            except Exception:
                # Whatever it is, places and actions of later mails must not wait for ever.
                log.exception("unexpected error while committing; it goes on in %.0f s", TROUBLE)
                pauses = [TROUBLE]
            await self._look.wait(min((pause for pause in pauses if pause is not None), default=None))

    async def _commit_what_is_due(self) -> float | None:
        """Store the furthest place that may be stored; return the seconds to wait for the next, if one is near."""
        due: list[Promise] = []
        pause = None
        for promise in self._queue:
            pause = self._waits(promise)
            if pause is not None:
                break
            due.append(promise)
        if not due:
            return None if pause == float("inf") else pause
        if all(promise.silent for promise in due) and due[-1].place.uidvalidity == self.committed.uidvalidity:
            rest = self._stored.written_at + LAZY - self.clock.monotonic()
            if rest > 0:
                return rest
        place = due[-1].place
        told = any(promise.told_at is not None for promise in due)
        self._in_flight = due
        if told:
            await patiently(self._journal.enlist)
        later = [promise for promise in due if promise.place.epoch == place.epoch]
        await self._stored.move(
            place, [Owed(todo, promise.place.uidvalidity) for promise in later for todo in promise.todo]
        )
        self._in_flight = []
        for promise in due:
            if self._queue and self._queue[0] is promise:
                del self._queue[0]
        self._on_commit(place, sum(promise.mails for promise in due))
        if told:
            try:
                await self._journal.sweep()
            except Exception as error:  # noqa: BLE001 - housekeeping can wait for the next commit
                complain("old entries of the journal cannot be dropped", error)
        return 0.0 if self._queue else None

    def _waits(self, promise: Promise) -> float | None:
        """Return how many seconds a promise must wait still, or ``None`` if it may be kept."""
        if promise.told_at is None:
            return None
        if promise.confirmed_at is None:
            return float("inf")
        grace = max(GRACE, GRACE_FACTOR * (promise.confirmed_at - promise.told_at))
        rest = promise.confirmed_at + grace - self.clock.monotonic()
        return rest if rest > 0 else None
