"""Moves a subscriber's stored place once its events are certainly in Airflow's database, and then acts on the mails.

The order is the promise: tell, confirm, commit, act. A place never passes a mail whose event may be missing, and an
action is part of the stored place until it is done, so that a crash repeats the action and not the mail.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_imap_provider.errors import ImapError
from airflow_imap_provider.mailbox.actions import OUTGOING, Action, perform
from airflow_imap_provider.mailbox.place import Place, Todo
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.mailbox.waiting import Signal
from airflow_imap_provider.mailbox.watcher import FolderWatcher
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.transport.session import FolderStatus, Session
from airflow_imap_provider.triggers.courier import Courier, is_separate
from airflow_imap_provider.triggers.journal import Journal
from airflow_imap_provider.triggers.store import AssetStore, Stream

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
"""First and longest wait in seconds before an action that failed is tried again; doubles."""

ACTION_TRIES = 6
"""How often an action is tried, over about five minutes; then it is reported and given up."""

TROUBLE = 10.0
"""Seconds after an unexpected error until the work goes on."""


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
    :param on_rewind: called with the stored place when promises were revoked: reading goes on from there.
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
        on_rewind: Callable[[Place], None],
        on_superseded: Callable[[], None],
    ) -> None:
        self.clock = clock
        self.committed = committed.paid
        self._failed = 0
        self._last_failure = ""
        self._store = store
        self._key = stream.key("place")
        self._name = stream.name
        self._watcher = watcher
        self._courier = Courier(stream.conn_id, stream.folder)
        self._transfer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._journal = journal
        self._on_commit = on_commit
        self._on_rewind = on_rewind
        self._on_superseded = on_superseded
        self._owed = [_Owed(todo, repeated=True) for todo in committed.todo]
        self._queue: list[Promise] = []  # few: a deque would take 600 bytes
        self._in_flight: list[Promise] = []
        self._look = Signal()
        self._written_at = clock.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"imap4 commit {self._name}")

    @property
    def told(self) -> int:
        """How many events are told and not committed."""
        return sum(promise.told_at is not None for promise in self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing is told and not committed, and no action is owed."""
        return not (self.told or self._owed or self._in_flight)

    @property
    def trouble(self) -> dict[str, Any]:
        """What the health entry tells of actions: owed ones, given up ones since the start, and the last failure."""
        return {
            "pending_actions": sum(len(item.todo.actions) for item in self._owed),
            "failed_actions": self._failed,
            "last_action_error": self._last_failure,
        }

    def promise(self, place: Place, told_at: float | None, mails: int = 0) -> Promise:
        """Return the promise to commit ``place``; it counts once it was given to :meth:`append`."""
        return Promise(place.paid, place.todo, told_at, self, mails)

    def append(self, promise: Promise) -> None:
        """Take a promise. It is kept when Airflow has confirmed it, or at leisure if nothing was told."""
        last = self._queue[-1] if self._queue else None
        mergeable = last is not None and last.silent and promise.silent and last not in self._in_flight
        if mergeable and last is not None and last.place.epoch == promise.place.epoch:
            last.place = promise.place
        else:
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
            # What is being written will be written: going back behind it would tell and act twice.
            self._on_rewind(self._in_flight[-1].place if self._in_flight else self.committed)

    async def stop(self) -> None:
        """Promises that are not kept by now are left: after a restart their mails are told again."""
        tasks = [task for task in (self._task, self._transfer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _work(self) -> None:
        while True:
            self._look.clear()
            try:
                pauses = [await self._commit_what_is_due(), await self._act()]
            except _SupersededError:
                log.warning("the stored place of %s is of a later epoch: going on from there", self._name)
                self._queue.clear()
                self._on_superseded()
                return
            except Exception:
                # Whatever it is, places and actions of later mails must not wait for ever.
                log.exception("unexpected error while committing; it goes on in %.0f s", TROUBLE)
                pauses = [TROUBLE]
            await self._look.wait(min((pause for pause in pauses if pause is not None), default=None))

    # --- committing ---------------------------------------------------------------------------------------------

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
            rest = self._written_at + LAZY - self.clock.monotonic()
            if rest > 0:
                return rest
        place = due[-1].place
        told = any(promise.told_at is not None for promise in due)
        self._in_flight = due
        if told:
            await self._patiently(self._journal.enlist)
        async with self._writing:  # what was saved or forwarded meanwhile must not come back
            # The UIDs of another generation's actions mean other mails now.
            owed = [*self._owed] if place.epoch == self.committed.epoch else []
            owed += [_Owed(todo) for promise in due if promise.place.epoch == place.epoch for todo in promise.todo]
            await self._write(place, owed)
            self.committed, self._owed, self._in_flight = place, owed, []
        for promise in due:
            if self._queue and self._queue[0] is promise:
                del self._queue[0]
        self._on_commit(place, sum(promise.mails for promise in due))
        if told:
            try:
                await self._journal.sweep()
            except Exception as error:  # noqa: BLE001 - housekeeping can wait for the next commit
                log.warning("old entries of the journal cannot be dropped: %s", _first_line(error))
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

    async def _write(self, place: Place, owed: Sequence[_Owed]) -> None:
        stored = replace(place, todo=tuple(item.todo for item in owed)).to_json()
        await self._patiently(lambda: self._write_unless_superseded(stored))
        self._written_at = self.clock.monotonic()

    async def _write_unless_superseded(self, stored: dict[str, Any]) -> None:
        # Another triggerer that runs the same trigger for a while may have honoured a reset, or found the folder new.
        records = await self._store.read(self._key)
        if any(record["epoch"] > stored["epoch"] for record in records if record):
            raise _SupersededError
        await self._store.write(self._key, stored)

    async def _record(self) -> None:
        """Store what is owed now."""
        async with self._writing:
            await self._write(self.committed, self._owed)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        delay = STORE_RETRY[0]
        while True:
            try:
                await step()
            except _SupersededError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, forgetting the place would be worse
                log.warning("Airflow's state store fails; trying again in %.0f s: %s", delay, _first_line(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, STORE_RETRY[1])
            else:
                return

    # --- acting -------------------------------------------------------------------------------------------------

    async def _act(self) -> float | None:
        """Do the actions that are due; return the seconds until the next attempt, if one is needed."""
        waits = []
        transfer = False
        for item in list(self._owed):
            wait = item.not_before - self.clock.monotonic()
            if wait > 0:
                waits.append(wait)
            elif item.outgoing:
                transfer = True
            elif self._watcher.state.connected:
                # Else the watcher wakes the subscriber, and the subscriber this, when there is a connection again.
                again = await self._act_on(item)
                waits += [again] if again is not None else []
                transfer = transfer or item.outgoing
        if transfer and (self._transfer is None or self._transfer.done()):
            self._transfer = asyncio.get_running_loop().create_task(self._transfer_all(), name="imap4 transfer")
        return min(waits, default=None)

    async def _transfer_all(self) -> None:
        """Save and forward beside everything else, since it may take minutes, on a connection of its own.

        One mail at a time, so that one that fails holds up no other and nothing that is done is done again.
        """
        try:
            while True:
                now = self.clock.monotonic()
                due = next((item for item in self._owed if item.outgoing and item.not_before <= now), None)
                if due is None:
                    break
                await self._act_on(await self._single(due))
                self.look()
        except Exception:
            log.exception("unexpected error while saving or forwarding; it goes on in %.0f s", TROUBLE)
            for item in self._owed:
                if item.outgoing:
                    item.not_before = max(item.not_before, self.clock.monotonic() + TROUBLE)
        finally:
            await self._courier.rest()
        self.look()

    async def _single(self, item: _Owed) -> _Owed:
        """Part the first mail from the others that the same is owed to."""
        async with self._writing:
            (first, last), *rest = item.todo.uids.spans
            if item not in self._owed or (first == last and not rest) or not is_separate(item.todo.actions[0]):
                return item
            one = replace(item, todo=replace(item.todo, uids=UidRanges(((first, first),))))
            item.todo = replace(item.todo, uids=UidRanges.of([(first + 1, last), *rest]))
            self._owed.insert(self._owed.index(item), one)
            return one

    async def _act_on(self, item: _Owed) -> float | None:
        """Do what is owed to some mails, one action at a time; return the seconds to wait after a failure.

        Ends where a transfer follows other actions, or the other way round: transfers have a task of their own.
        """
        outgoing = item.outgoing
        while item.todo.actions and item.outgoing == outgoing:
            try:
                begun = await self._perform(item)
            except Exception as error:  # noqa: BLE001 - an action that cannot be done must not block those that can
                return await self._after_failure(item, error)
            if not begun:
                item.todo = replace(item.todo, actions=())
                break
            item.todo = replace(item.todo, actions=item.todo.actions[1:], tries=0)
            item.repeated = False
            if item.todo.actions:
                await self._record()
        if not item.todo.actions:
            await self._forget(item)
        return None

    async def _perform(self, item: _Owed) -> bool:
        """Do the first action that is owed; return whether the UIDs still mean the same mails."""
        item.begun = False
        uidvalidity, action, repeated = self.committed.uidvalidity, item.todo.actions[0], item.repeated
        uids = [uid for first, last in item.todo.uids.spans for uid in range(first, last + 1)]
        if action.do in OUTGOING:
            return await self._courier.perform(uidvalidity, uids, action, lambda: setattr(item, "begun", True))

        def work(session: Session, status: FolderStatus) -> bool:
            item.begun = True
            if status.uidvalidity != uidvalidity:
                return False
            perform(session, uids, [action], repeated=repeated)
            return True

        return await self._watcher.use(work, writing=True)

    async def _after_failure(self, item: _Owed, error: Exception) -> float | None:
        if not item.begun:
            # Nothing was sent: the connection has just gone. The watcher wakes this when it is back.
            item.not_before = self.clock.monotonic() + TROUBLE
            return TROUBLE
        item.repeated = True
        tries = item.todo.tries + 1
        what = f"{_described(item.todo.actions[0])}, due to mails of {self._name} (UIDs {_listed(item.todo.uids)}),"
        self._last_failure = f"{_described(item.todo.actions[0])}: {error}"
        if not isinstance(error, ImapError):
            log.error("unexpected error in an action", exc_info=error)
        if tries >= ACTION_TRIES:
            self._failed += 1
            log.error("%s failed and is given up: %s", what, error)
            item.todo = replace(item.todo, actions=_without(item.todo.actions), tries=0)
            item.repeated = False
            if item.todo.actions:
                return 0.0
            await self._forget(item)
            return None
        wait = min(ACTION_RETRY[0] * 2.0 ** (tries - 1), ACTION_RETRY[1])
        log.warning("%s failed and is tried again in %.0f s: %s", what, wait, error)
        item.todo = replace(item.todo, tries=tries)
        item.not_before = self.clock.monotonic() + wait
        return wait

    async def _forget(self, item: _Owed) -> None:
        async with self._writing:
            self._owed = [other for other in self._owed if other is not item]
            await self._write(self.committed, self._owed)


class _SupersededError(Exception):
    """The stored place is of a later epoch."""


@dataclass(eq=False)
class _Owed:
    """Actions that are owed to some mails.

    :param repeated: whether an earlier attempt at the first action may have been interrupted.
    :param begun: whether the last attempt has reached the server.
    :param not_before: when to try it again, in the clock's seconds.
    """

    todo: Todo
    repeated: bool = False
    begun: bool = False
    not_before: float = 0.0

    @property
    def outgoing(self) -> bool:
        """Whether a transfer is due next."""
        return bool(self.todo.actions) and self.todo.actions[0].do in OUTGOING


def _without(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Return what is still to be done when the first action is given up: never the removal of what was not kept."""
    rest = actions[1:]
    if actions[0].do in (*OUTGOING, "copy") and any(action.do == "delete" for action in rest):
        log.error("the mails are not deleted, since %s failed", _described(actions[0]))
        return tuple(action for action in rest if action.do != "delete")
    return rest


def _described(action: Action) -> str:
    return f"{action.do} {action.argument}".strip()


def _listed(uids: UidRanges) -> str:
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in uids.spans)


def _first_line(error: BaseException) -> str:
    lines: list[Any] = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
