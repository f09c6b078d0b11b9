"""One trigger's share of a watched folder: reads from its own place, tells Airflow, and has its progress committed.

Runs on the triggerer's event loop and never raises for a reason that lies in the network, the server or a mail: Airflow
would restart the trigger every two seconds, for ever. Whatever fails is logged once, shown in the health entry, and
tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mailbox import watcher as watching
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.mailbox.reader import Batch, Reader, Wish
from airflow_imap_provider.mailbox.waiting import within
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock
from airflow_imap_provider.triggers.beginning import UnknownActionsError, stored_place
from airflow_imap_provider.triggers.committer import Committer
from airflow_imap_provider.triggers.complaints import complain
from airflow_imap_provider.triggers.health import OFTENEST_NEWS, Health
from airflow_imap_provider.triggers.journal import Journal
from airflow_imap_provider.triggers.nudge import Nudge
from airflow_imap_provider.triggers.producer import Doorbell, WakeUp, doorbell
from airflow_imap_provider.triggers.resets import Resets
from airflow_imap_provider.triggers.store import AssetStore, Stream

__all__ = ["Subscriber", "Terms"]

log = logging.getLogger(__name__)

UNCOMMITTED = 20
"""Batches told and not committed at most: bounds what a crash makes this tell again, and the memory."""

READ_LIMIT = 200.0
"""Seconds that a wake-up may be held for reading. Airflow fails a subscriber that holds one for 300."""

STORE_RETRY = 10.0
"""Seconds between attempts to reach Airflow's state store, which refuses while the asset is not active."""

RESET_RETRY = 5.0
"""Seconds between attempts to begin anew while events are not committed or actions are owed; nothing new is told."""

RESET_PATIENCE = 300.0
"""Seconds for which a reset waits for them: what is still owed then is reported and given up."""

UNFIT_RETRY = 300.0
"""Seconds between attempts to read where something is missing that waiting does not mend, such as an extra."""

CONFLICT_WARNING = 30.0
"""Seconds after which two triggers with the same place are an error and not the hand-over of an edited DAG."""


@dataclass(frozen=True)
class Terms:
    """How a subscriber goes about it.

    :param start: the start policy, as :func:`~airflow_imap_provider.mailbox.place.parse_start` returns it.
    :param pace: seconds between two events at least.
    :param poll_interval: seconds between safety polls, and between polls where there is no IDLE.
    :param idle: whether IDLE may be used.
    """

    start: str
    pace: float
    poll_interval: float
    idle: bool


@dataclass(frozen=True)
class _Step:
    """What came of a step.

    :param payload: what to tell.
    :param place: the place after it, if it has moved.
    :param committer: who moves the stored one.
    """

    payload: dict[str, Any] | None
    place: Place | None
    committer: Committer


class Subscriber:
    """See the module.

    :param wish: what to look for.
    :param stream: which place in which folder it is.
    :param terms: how to go about it.
    :param store: the state stores of the trigger's assets.
    """

    def __init__(
        self, wish: Wish, stream: Stream, terms: Terms, store: AssetStore, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.poll_interval = terms.poll_interval
        self.idle = terms.idle
        self.acts = wish.acts
        self._stream, self._terms, self._store, self._clock = stream, terms, store, clock
        self._key = (stream.conn_id, stream.folder)
        self._reader = Reader(wish, clock=clock, patient=True)
        self._committer: Committer | None = None
        self._bell: Doorbell | None = None
        self._watcher: watching.FolderWatcher | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._nudge_timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._full = False
        self._in_conflict = False
        self._store_failure = ""
        self._unfit = ""
        self._reset_waits_since: float | None = None
        self._joined_at = clock.monotonic()
        self._health = Health(store, stream, clock, hashlib.sha256(repr(wish).encode()).hexdigest()[:16])
        self._nudge = Nudge(store, stream, clock)
        self._journal = Journal(store, stream, clock)
        self._resets = Resets(store, stream, self.wake)

    # --- being woken --------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may be new, or the connection's state has changed."""
        if self._committer is not None:
            self._committer.look()
        if self._bell is not None:
            self._bell.ring()

    def _wake_in(self, seconds: float) -> None:
        """Have this subscriber woken in so many seconds, or earlier if that is planned: one timer, not one a reason."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(seconds, 0.0)
        if self._timer is None or self._timer.when() > when:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    def _plan_nudge(self) -> None:
        if self._nudge_timer is not None:
            self._nudge_timer.cancel()
        wait = self._nudge.next_in()
        self._nudge_timer = None if wait is None else asyncio.get_running_loop().call_later(wait, self.wake)

    # --- the life of a subscriber -------------------------------------------------------------------------------

    async def events(
        self, wake_ups: AsyncIterator[WakeUp], settings: Callable[[], Awaitable[Settings]]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield payloads for Airflow, at most one per wake-up.

        :param wake_ups: Airflow's shared stream.
        :param settings: gives the connection's settings; asked again at every reconnect.
        """
        self._bell = doorbell(self._key)
        self._watcher = watching.join(self._key, self, settings)
        self._resets.listen()
        try:
            async for wake_up in wake_ups:
                step = await self._guarded_step()
                if step is None:
                    continue
                mails = len(step.payload["emails"]) if step.payload is not None else 0
                if step.payload is not None:
                    self._health.handed_over(mails)
                    yield step.payload
                # Only now: a subscriber that was taken away while it held the event has promised nothing.
                self._promise(wake_up, step, mails)
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Airflow has taken the trigger away: nothing more is committed, the folder may be given up."""
        self._resets.stop()
        for timer in (self._timer, self._nudge_timer):
            if timer is not None:
                timer.cancel()
        committer, self._committer = self._committer, None
        try:
            if committer is not None:
                await committer.stop()
        finally:
            # Whoever comes next finds in the stored place what was done to the last moment.
            if _holders.get(self._holding()) is self:
                del _holders[self._holding()]
        if self._watcher is not None:
            await watching.leave(self._key, self)

    def _promise(self, wake_up: WakeUp, step: _Step, mails: int) -> None:
        if step.place is not None:
            told_at = self._clock.monotonic() if step.payload is not None else None
            promise = step.committer.promise(step.place, told_at, mails)
            step.committer.append(promise)
            wake_up.promises.append(promise)

    # --- one step -----------------------------------------------------------------------------------------------

    async def _guarded_step(self) -> _Step | None:
        try:
            return await self._step()
        except SettingsError as error:
            if str(error) != self._unfit:
                self._unfit = str(error)
                log.error("%s cannot be watched: %s", self._stream.name, error)  # noqa: TRY400 - its words say it all
            await self._note_health(error.owed if isinstance(error, UnknownActionsError) else 0)
            self._wake_in(UNFIT_RETRY)
        except ImapError as error:
            # The watcher reports it, reconnects and wakes this subscriber.
            log.debug("nothing read: %s", error)
        except asyncio.TimeoutError:
            log.warning("reading %s takes longer than %.0f s; it is tried again", self._stream.name, READ_LIMIT)
            self._wake_in(self._terms.poll_interval)
        except Exception:
            log.exception("unexpected error in the watcher of %s; it goes on", self._stream.name)
            self._wake_in(self._terms.poll_interval)
        return None

    async def _step(self) -> _Step | None:
        """Return what to tell and the place after it, or ``None`` if there is nothing to do.

        While it waits for something, the place may turn out to be superseded: it keeps to the committer with which it
        began, and asks that one whether what it has read still counts.
        """
        watcher = self._watcher
        assert watcher is not None
        if not self._holds_place():
            return None
        if self._resets.asked and not await self._let_go_of_place():
            return None
        committer = await self._committer_at_hand()
        if committer is None:
            return None
        await self._note_health()
        if (wait := self._not_before - self._clock.monotonic()) > 0:
            self._wake_in(wait)
            return None
        self._full = committer.told >= UNCOMMITTED
        if self._full:
            return None  # the next commit wakes this subscriber
        place = committer.place
        batch = await within(watcher.read(self, self._reader, place), READ_LIMIT)
        self._unfit = ""
        if not committer.reads_from(place):
            return None  # somebody has begun anew meanwhile
        committer.has_read(batch.place, batch.opening)
        payload = None
        if batch.emails:
            payload = await self._journaled(self._event(batch))
            if payload is None:
                return None  # the place has not moved: the batch is read again
        if not committer.advance(place, batch.place.paid):
            return None  # as above: what the journal has is told again, from where reading goes on
        if batch.notice:
            log.warning("The folder %s of %s %s", self._stream.folder, self._stream.conn_id, batch.notice)
        self._health.caught_up(batch)
        if batch.emails:
            self._not_before = self._clock.monotonic() + self._terms.pace
        if batch.more:
            self._wake_in(self._terms.pace if batch.emails else 0.0)
        # The place has moved in any case, and with it the actions that are owed to mails nobody wants.
        moved = batch.place if batch.place != place else None
        if payload is None:
            await self._note_health()
            payload = await self._nudge_if_due(batch, committer)
        else:
            self._wake_in(max(self._terms.pace, OFTENEST_NEWS))  # the event first, then the entry that counts it
        return _Step(payload, moved, committer) if payload is not None or moved is not None else None

    async def _note_health(self, owed: int = 0) -> None:
        """Write the health entry if it is time to.

        :param owed: actions that are owed though nobody knows how to do them.
        """
        if self._watcher is None or (self._committer is None and not self._unfit):
            return
        state = self._watcher.state
        if self._unfit and state.connected:
            state = replace(state, error=self._unfit)
        nobodys = {"pending_actions": owed, "failed_actions": 0, "last_action_error": ""}
        trouble = self._committer.trouble if self._committer is not None else nobodys
        due = await self._health.note(state, trouble, self._watcher.connects)
        if due is not None:
            self._wake_in(max(due, 1.0))

    async def _journaled(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return await self._journal.append(payload)
        except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here, and its client's
            complain(f"the mails of {self._stream.name} cannot be stored; trying again in {STORE_RETRY:.0f} s", error)
            self._wake_in(STORE_RETRY)
            return None

    async def _nudge_if_due(self, batch: Batch, committer: Committer) -> dict[str, Any] | None:
        if self._nudge.next_in() is None:
            return None
        committed = committer.committed
        try:
            due = await self._nudge.due(committed)
        except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here, and its client's
            complain("the consumers' records cannot be read", error)
            self._wake_in(STORE_RETRY)
            return None
        self._plan_nudge()
        if not due:
            return None
        told = committed.told_uid
        epoch, uidvalidity = map(int, committed.told_in.split("."))
        about = {"epoch": epoch, "uidvalidity": uidvalidity, "first_uid": told + 1, "last_uid": told, "nudge": told}
        return await self._journaled({**self._event(batch), **about})

    def _event(self, batch: Batch) -> dict[str, Any]:
        first, last = batch.span
        return {
            "stream": self._stream.name,
            "conn_id": self._stream.conn_id,
            "folder": self._stream.folder,
            "uidvalidity": batch.place.uidvalidity,
            "epoch": batch.place.epoch,
            **({"reset": batch.place.reset} if batch.place.reset else {}),
            "first_uid": first,
            "last_uid": last,
            "emails": list(batch.emails),
        }

    # --- the place ----------------------------------------------------------------------------------------------

    def _holding(self) -> tuple[int, tuple[str, ...], str]:
        return id(asyncio.get_running_loop()), self._store.assets, self._stream.name

    def _holds_place(self) -> bool:
        """Make sure that no other trigger of these assets moves the same place."""
        holder = _holders.setdefault(self._holding(), self)
        if holder is self:
            return True
        waited = self._clock.monotonic() - self._joined_at
        if waited > CONFLICT_WARNING and not self._in_conflict:
            self._in_conflict = True
            log.error(
                "Two watchers of the asset %s read the folder %s of %s with the same place %r: only the first one "
                "works. Give each its own: EmailTrigger(place=...).",
                ", ".join(self._store.assets),
                self._stream.folder,
                self._stream.conn_id,
                self._stream.place,
            )
        self._wake_in(1.0 if not self._in_conflict else CONFLICT_WARNING)
        return False

    async def _committer_at_hand(self) -> Committer | None:
        """Return who moves the place, which is loaded if need be; ``None`` if it cannot be had."""
        if self._committer is not None:
            return self._committer
        assert self._watcher is not None
        try:
            stored = await self._load_place()
        except UnknownActionsError:
            raise
        except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here, and its client's
            # An inactive asset looks empty and refuses writing; believing it would start over.
            if str(error) != self._store_failure:
                self._store_failure = str(error)
                names = ", ".join(self._store.assets)
                complain(
                    f"Airflow's state store for the asset {names} is not available yet (the asset may not be active)",
                    error,
                )
            self._wake_in(STORE_RETRY)
            return None
        self._committer = committer = Committer(
            self._store,
            self._stream,
            stored,
            self._watcher,
            self._journal,
            self._clock,
            self._committed,
            self.wake,
            self._superseded,
        )
        self._nudge = Nudge(self._store, self._stream, self._clock)
        self._nudge.expect(stored)
        self._plan_nudge()
        return committer

    async def _load_place(self) -> Place:
        try:
            place = await stored_place(self._store, self._stream, self._terms.start, self._clock.now())
        except UnknownActionsError as error:
            place = await self._resets.honour(error.place)
            if place is error.place:
                raise
            log.error("%s begins anew, and what it owed is given up: %s", self._stream.name, error.problem)  # noqa: TRY400
            return place
        return await self._resets.honour(place)

    async def _let_go_of_place(self) -> bool:
        """Somebody wants this stream to begin anew: return whether nothing of before is owed any more."""
        committer = self._committer
        if committer is not None and not committer.idle:
            now = self._clock.monotonic()
            since = self._reset_waits_since = now if self._reset_waits_since is None else self._reset_waits_since
            if now - since < RESET_PATIENCE:
                self._wake_in(RESET_RETRY)
                await self._note_health()
                if self._watcher is not None and not committer.knows(self._watcher.opening):
                    # Only for the actions, which wait for that after each opening of the folder.
                    batch = await within(self._watcher.read(self, self._reader, committer.place), READ_LIMIT)
                    committer.has_read(batch.place, batch.opening)
                return False
        self._reset_waits_since = None
        self._committer = None
        if committer is not None:
            await committer.stop()
        return True

    def _superseded(self) -> None:
        self._committer = None
        self.wake()

    def _committed(self, place: Place, mails: int) -> None:
        self._health.committed(mails)
        if self._nudge.expect(place):
            self._plan_nudge()
        if self._full:
            self.wake()


_holders: dict[tuple[int, tuple[str, ...], str], Subscriber] = {}
"""Which subscriber moves a place, by event loop, assets and stream."""
