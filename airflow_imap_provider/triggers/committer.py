"""Moves a subscriber's stored place once its events are certainly in Airflow's database, and then acts on the mails.

The order is the promise: tell, confirm, commit, act. A place never passes a mail whose event may be missing, and an
action is part of the stored place until it is done, so that a crash repeats the action and not the mail.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from airflow_imap_provider.errors import ImapError, ProtocolError, RefusedError
from airflow_imap_provider.mailbox.actions import Action, perform
from airflow_imap_provider.mailbox.place import Place, Todo
from airflow_imap_provider.mailbox.waiting import woken
from airflow_imap_provider.mailbox.watcher import FolderWatcher
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.transport.session import FolderStatus, Session
from airflow_imap_provider.triggers.store import AssetStore

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

STORE_RETRY = (1.0, 60.0)
"""First and longest wait in seconds before a failed write to Airflow's state store is tried again."""

ACTION_RETRY = (10.0, 600.0)
"""First and longest wait in seconds before a refused action is tried again."""

ACTION_TRIES = 6
"""How often a refused action is tried: over about ten minutes; then it is reported and given up."""


@dataclass
class Promise:
    """One batch on its way to being committed.

    :param place: the place after the batch, without the actions that earlier batches still owe.
    :param todo: the actions that this batch owes.
    :param told_at: when its event was handed to Airflow, in the clock's seconds; ``None`` if there was nothing to tell.
    """

    place: Place
    todo: tuple[Todo, ...]
    told_at: float | None
    committer: Committer
    confirmed_at: float | None = None

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
    :param on_commit: called with every place that was stored.
    :param on_rewind: called with the stored place when promises were revoked: reading goes on from there.
    """

    def __init__(
        self,
        store: AssetStore,
        key: str,
        committed: Place,
        watcher: FolderWatcher,
        clock: Clock,
        on_commit: Callable[[Place], None],
        on_rewind: Callable[[Place], None],
    ) -> None:
        self.clock = clock
        self.committed = replace(committed, todo=())
        self.failed_actions = 0
        self._store = store
        self._key = key
        self._watcher = watcher
        self._on_commit = on_commit
        self._on_rewind = on_rewind
        self._owed = committed.todo
        self._repeated = bool(committed.todo)
        self._queue: deque[Promise] = deque()
        self._look = asyncio.Event()
        self._written_at = clock.monotonic()
        self._act_at = 0.0
        self._act_wait = ACTION_RETRY[0]
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"imap4 commit {key}")

    def __len__(self) -> int:
        return len(self._queue)

    def promise(self, place: Place, told_at: float | None) -> Promise:
        """Return the promise to commit ``place``; it counts once it was given to :meth:`append`."""
        return Promise(replace(place, todo=()), place.todo, told_at, self)

    def append(self, promise: Promise) -> None:
        """Take a promise. It is kept when Airflow has confirmed it, or at leisure if nothing was told."""
        self._queue.append(promise)
        self.look()

    def look(self) -> None:
        """Something has changed: a confirmation, or the connection."""
        self._look.set()

    def rewind(self) -> None:
        """Forget all promises that are not kept yet; what they cover is read and told again."""
        if self._queue:
            log.warning("an event may not have been stored; its mails are told again")
            self._queue.clear()
            self._on_rewind(self.committed)

    async def stop(self) -> None:
        """Promises that are not kept by now are left: after a restart their mails are told again."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _work(self) -> None:
        while True:
            self._look.clear()
            pauses = [await self._commit_what_is_due(), await self._act()]
            await woken(self._look, min((pause for pause in pauses if pause is not None), default=None))

    # --- committing ---------------------------------------------------------------------------------------------

    async def _commit_what_is_due(self) -> float | None:
        """Store the furthest place that may be stored; return the seconds to wait for the next, if one is near."""
        due: list[Promise] = []
        pause = None
        for promise in self._queue:
            pause = self._waits(promise)
            if pause is None:
                due.append(promise)
            else:
                break
        if not due:
            return None if pause == float("inf") else pause
        silent = all(promise.told_at is None and not promise.todo for promise in due)
        if (
            silent
            and due[-1].place.uidvalidity == self.committed.uidvalidity
            and (rest := self._written_at + LAZY - self.clock.monotonic()) > 0
        ):
            return min(rest, pause) if pause else rest
        owed = (*self._owed, *(item for promise in due for item in promise.todo))
        if due[-1].place.epoch != self.committed.epoch:
            # The UIDs of older actions mean other mails now.
            owed = due[-1].todo
        await self._write(replace(due[-1].place, todo=owed))
        self.committed, self._owed = due[-1].place, owed
        for promise in due:
            if self._queue and self._queue[0] is promise:
                self._queue.popleft()
        self._on_commit(self.committed)
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

    async def _write(self, place: Place) -> None:
        delay = STORE_RETRY[0]
        while True:
            try:
                await self._store.write(self._key, place.to_json())
            except Exception as error:  # noqa: BLE001 - whatever it is, forgetting the place would be worse
                log.warning("the place cannot be stored; trying again in %.0f s: %s", delay, _first_line(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, STORE_RETRY[1])
            else:
                self._written_at = self.clock.monotonic()
                return

    # --- acting -------------------------------------------------------------------------------------------------

    async def _act(self) -> float | None:
        """Do the actions that are owed; return the seconds until the next attempt, if one is needed."""
        if not self._owed:
            return None
        wait = self._act_at - self.clock.monotonic()
        if wait > 0:
            return wait
        left: list[Todo] = []
        refused = False
        for position, item in enumerate(self._owed):
            try:
                await self._perform(item)
            except (RefusedError, ProtocolError) as error:
                refused = True
                left += self._after_refusal(item, error)
            except ImapError:
                # The connection is gone. The watcher wakes the subscriber, and the subscriber this, when it is back.
                left += self._owed[position:]
                break
        self._repeated = bool(left)
        if tuple(left) != self._owed:
            await self._write(replace(self.committed, todo=tuple(left)))
            self._owed = tuple(left)
        if not refused:
            self._act_wait = ACTION_RETRY[0]
            return None
        wait, self._act_wait = self._act_wait, min(self._act_wait * 2, ACTION_RETRY[1])
        self._act_at = self.clock.monotonic() + wait
        return wait

    async def _perform(self, item: Todo) -> None:
        uidvalidity, repeated = self.committed.uidvalidity, self._repeated or item.tries > 0
        uids = [uid for first, last in item.uids.spans for uid in range(first, last + 1)]

        def work(session: Session, status: FolderStatus) -> None:
            if status.uidvalidity == uidvalidity:  # else the UIDs mean other mails by now
                perform(session, uids, item.actions, repeated=repeated)

        await self._watcher.use(work, writing=True)

    def _after_refusal(self, item: Todo, error: ImapError) -> list[Todo]:
        names = ", ".join(_described(action) for action in item.actions)
        if item.tries + 1 < ACTION_TRIES:
            log.warning("%s failed for the mails %s and is tried again: %s", names, item.uids.dumps(), error)
            return [replace(item, tries=item.tries + 1)]
        self.failed_actions += 1
        log.error("%s failed for the mails %s and is given up: %s", names, item.uids.dumps(), error)
        return []


def _described(action: Action) -> str:
    return f"{action.do} {action.argument}".strip()


def _first_line(error: BaseException) -> str:
    lines: list[Any] = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
