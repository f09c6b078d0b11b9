"""Does the actions that a stored place owes: on the watched connection between two reads, or beside it for transfers.

An action is owed until it is struck off the stored place, so that a crash repeats the action and not the mail. One that
fails is tried again, reported, and given up in the end; it never holds up mail, nor another action.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_imap_provider.errors import AuthenticationError, ImapError, LostConnectionError
from airflow_imap_provider.mailbox.actions import OUTGOING, Action, perform
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.mailbox.ranges import UidRanges
from airflow_imap_provider.mailbox.watcher import FolderWatcher
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.transport.session import FolderStatus, Session
from airflow_imap_provider.transport.throttling import recognise
from airflow_imap_provider.triggers.courier import Courier, Known, is_separate
from airflow_imap_provider.triggers.store import Stream
from airflow_imap_provider.triggers.stored_place import Owed, StoredPlace, SupersededError

__all__ = ["TROUBLE", "Acting"]

log = logging.getLogger(__name__)

ACTION_RETRY = (10.0, 600.0)
"""First and longest wait in seconds before an action that failed is tried again; doubles."""

ACTION_TRIES = 6
"""How often an action is tried, over about five minutes; then it is reported and given up."""

LIMITED = 25 * 3600.0
"""Seconds for which an action is tried of which the server says that it is too much for now: the mailbox is full, or
the account is slowed down, which lasts for a day at most. The pauses are those of
:mod:`airflow_imap_provider.transport.throttling`."""

BEYOND_IMAP = ("save", "forward")
"""Stages of errors in which somebody else has spoken: a storage, or an SMTP server."""

FAREWELL = 5.0
"""Seconds for which a trigger that ends waits for the action that is under way, and for noting that it is done."""

TROUBLE = 10.0
"""Seconds after an unexpected error until the work goes on."""


class _OpenedAgainError(LostConnectionError):
    """Nobody has read in the folder since it was opened: its UIDs may mean other mails."""


class Acting:
    """See the module.

    :param look: called when something has changed that :meth:`act` should look at.
    """

    def __init__(
        self, stream: Stream, stored: StoredPlace, watcher: FolderWatcher, clock: Clock, look: Callable[[], None]
    ) -> None:
        self._name, self._stored, self._watcher, self._clock, self._look = stream.name, stored, watcher, clock, look
        self._courier = Courier(stream.conn_id, stream.folder)
        self._transfer: asyncio.Task[None] | None = None
        self._at_work: asyncio.Task[float | None] | None = None
        self._stopping = False
        self._failed = 0
        self._last_failure = ""
        self._quiet_until = 0.0  # in the clock's seconds: the server has asked for quiet
        self._carry_after = 0.0  # the mailbox could not be opened for saving and forwarding
        self._knocking = Backoff()
        self._locked_out = False
        self._posting = Backoff()
        self._read: tuple[FolderStatus | None, int] = (None, 0)  # since which opening, and in which epoch
        self._account = ""

    @property
    def trouble(self) -> dict[str, Any]:
        """What the health entry tells of actions: owed ones, given up ones since the start, and the last failure."""
        return {
            "pending_actions": sum(len(item.todo.actions) for item in self._stored.owed),
            "failed_actions": self._failed,
            "last_action_error": self._last_failure,
        }

    def has_read(self, place: Place, opening: FolderStatus | None) -> None:
        """Note that the folder was read since it was opened so: it is known then that its UIDs mean what they meant."""
        news = self._read[0] is not opening or self._read[1] != place.epoch
        self._read, self._account = (opening, place.epoch), place.account
        if news and self._stored.owed:
            self._look()

    def knows(self, opening: FolderStatus | None) -> bool:
        """Whether the folder was read since that opening."""
        return opening is not None and self._read[0] is opening

    def _may_act(self, opening: FolderStatus | None) -> bool:
        return self.knows(opening) and self._read[1] == self._stored.place.epoch

    async def stop(self) -> None:
        """End: between two actions, if the next pause is near. What is not done, or not noted, is still owed."""
        self._stopping = True
        running = [task for task in (self._at_work, self._transfer) if task is not None and not task.done()]
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=FAREWELL)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        for task in running:
            if not task.cancelled():
                task.exception()  # of no interest any more, and fetched so that asyncio does not complain

    async def act(self) -> float | None:
        """Do the actions that are due; return the seconds until the next attempt, if one is needed.

        :raises SupersededError: if somebody has begun anew.
        """
        if not self._watcher.state.connected or not self._may_act(self._watcher.opening):
            # The watcher wakes the subscriber, and the subscriber reads and wakes this, when the folder is open again.
            # Until then it may be another one; and what is owed to mails of an earlier epoch goes with the next
            # commit. Nor is a connection opened to save and forward: the watcher knows how long the server is to be
            # left alone.
            return None
        waits = []
        transfer = False
        for item in list(self._stored.owed):
            wait = max(item.not_before, self._quiet_until) - self._clock.monotonic()
            if wait > 0:
                waits.append(wait)
            elif item.outgoing:
                transfer = True
            else:
                # Whoever ends this waits for what the server is doing already: it would be done twice.
                self._at_work = asyncio.get_running_loop().create_task(self._act_on(item), name="imap4 action")
                again = await asyncio.shield(self._at_work)
                waits += [again] if again is not None else []
                transfer = transfer or item.outgoing
        if transfer and (self._transfer is None or self._transfer.done()):
            wait = self._carry_after - self._clock.monotonic()
            if wait > 0:
                waits.append(wait)
            else:
                self._transfer = asyncio.get_running_loop().create_task(self._transfer_all(), name="imap4 transfer")
        return min(waits, default=None)

    async def _transfer_all(self) -> None:
        """Save and forward beside everything else, since it may take minutes, on a connection of its own.

        One mail at a time, so that one that fails holds up no other and nothing that is done is done again.
        """
        try:
            while not self._stopping:
                now = self._clock.monotonic()
                due = next((item for item in self._stored.owed if item.outgoing and item.not_before <= now), None)
                if due is None or now < max(self._quiet_until, self._carry_after):
                    break
                if is_separate(due.todo.actions[0]):
                    due = await self._stored.first_mail(due)
                await self._act_on(due)
                self._look()
        except SupersededError:
            log.debug("somebody has begun anew; the next look at what is owed ends this")
        except Exception:
            log.exception("unexpected error while saving or forwarding; it goes on in %.0f s", TROUBLE)
            for item in self._stored.owed:
                if item.outgoing:
                    item.not_before = max(item.not_before, self._clock.monotonic() + TROUBLE)
        finally:
            await self._courier.rest()
        self._look()

    async def _act_on(self, item: Owed) -> float | None:
        """Do what is owed to some mails, one action at a time; return the seconds to wait after a failure.

        Ends where a transfer follows other actions, or the other way round: transfers have a task of their own.
        """
        outgoing = item.outgoing
        while item.todo.actions and item.outgoing == outgoing and not self._stopping:
            try:
                begun = await self._perform(item)
            except Exception as error:  # noqa: BLE001 - an action that cannot be done must not block those that can
                return await self._after_failure(item, error)
            if not begun:
                item.todo = replace(item.todo, actions=())
                break
            if outgoing:
                self._let_in()
                self._posting.reset()
            held = outgoing and self._courier.held
            rest = _without(item.todo.actions) if held else item.todo.actions[1:]
            item.todo = replace(item.todo, actions=rest, tries=0)
            item.fresh()
            if item.todo.actions:
                await self._stored.note()
        if not item.todo.actions:
            await self._stored.forget(item)
        return None

    async def _perform(self, item: Owed) -> bool:
        """Do the first action that is owed; return whether the UIDs still mean the same mails."""
        item.begun = False
        action, repeated = item.todo.actions[0], item.repeated
        uids = [uid for first, last in item.todo.uids.spans for uid in range(first, last + 1)]
        if action.do in OUTGOING:
            known = Known(item.uidvalidity, self._account)
            return await self._courier.perform(known, uids, action, lambda: setattr(item, "begun", True))

        def work(session: Session, status: FolderStatus) -> bool:
            if not self._may_act(status):
                raise _OpenedAgainError("the folder was opened again meanwhile.", stage=action.do)
            item.begun = True
            if status.uidvalidity != item.uidvalidity:
                return False
            perform(session, uids, [action], repeated=repeated)
            return True

        return await self._watcher.use(work, writing=True)

    async def _after_failure(self, item: Owed, error: Exception) -> float | None:
        if isinstance(error, _OpenedAgainError):
            return None  # as soon as somebody has read there, which begins at once
        self._last_failure = f"{_described(item.todo.actions[0])}: {error}"
        if not item.begun:
            return self._turned_away(item, error)
        if item.outgoing:
            self._let_in()
        item.repeated = True
        what = f"{_described(item.todo.actions[0])}, due to mails of {self._name} (UIDs {_listed(item.todo.uids)}),"
        if not isinstance(error, ImapError):
            log.error("unexpected error in an action", exc_info=error)
        beyond = isinstance(error, ImapError) and error.stage in BEYOND_IMAP
        limit = recognise(error.reply) if isinstance(error, ImapError) else None
        now = self._clock.monotonic()
        if beyond and isinstance(error, (AuthenticationError, ConnectionError, TimeoutError)):
            # It is not about this mail: the others would meet the same refused login, or the same silence.
            self._carry_after = now + self._posting.next(error)
        if limit is None:
            tries = item.todo.tries + 1
            over, wait = tries >= ACTION_TRIES, min(ACTION_RETRY[0] * 2.0 ** (tries - 1), ACTION_RETRY[1])
            item.todo = replace(item.todo, tries=tries)
        else:
            item.limited_since = item.limited_since or now
            over, wait = now - item.limited_since >= LIMITED, item.limits.next(error)
            if beyond:
                self._carry_after = max(self._carry_after, now + wait)
            elif limit.quiet:
                self._quiet_until = now + wait
        if over:
            self._failed += 1
            log.error("%s failed and is given up: %s", what, error)
            item.todo = replace(item.todo, actions=_without(item.todo.actions), tries=0)
            item.fresh()
            if item.todo.actions:
                return 0.0
            await self._stored.forget(item)
            return None
        log.warning("%s failed and is tried again in %.0f s: %s", what, wait, error)
        item.not_before = now + wait
        return wait

    def _turned_away(self, item: Owed, error: Exception) -> float:
        """Return how long to wait: nothing was sent, for the connection has gone, or cannot be made."""
        if not item.outgoing:
            # The connection has gone, and the watcher wakes this when it is back; or the folder cannot be opened for
            # writing.
            wait = TROUBLE if isinstance(error, LostConnectionError) else max(TROUBLE, item.limits.next(error))
            item.not_before = self._clock.monotonic() + wait
            (log.debug if item.limits.failures <= 1 else log.warning)(
                "%s is due to mails of %s, and the folder cannot be opened for it: tried again in %.0f s: %s",
                _described(item.todo.actions[0]),
                self._name,
                wait,
                error,
            )
            return wait
        # Each mail that is to be saved would try the same login: a hundred refused ones lock an account.
        wait = self._knocking.next(error)
        self._carry_after = self._clock.monotonic() + wait
        (log.debug if self._locked_out else log.warning)(
            "mails of %s cannot be saved or forwarded now, which is tried again in %.0f s: %s", self._name, wait, error
        )
        self._locked_out = True
        return wait

    def _let_in(self) -> None:
        self._knocking.reset()
        if self._locked_out:
            log.info("mails of %s can be saved and forwarded again", self._name)
        self._locked_out = False


def _without(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Return what is still to be done when the first action is given up, or has left mails out.

    Never the removal of what was not kept.
    """
    rest = actions[1:]
    if actions[0].do in (*OUTGOING, "copy") and any(action.do == "delete" for action in rest):
        log.error("the mails are not deleted, since %s has not kept them", _described(actions[0]))
        return tuple(action for action in rest if action.do != "delete")
    return rest


def _described(action: Action) -> str:
    return f"{action.do} {action.argument}".strip()


def _listed(uids: UidRanges) -> str:
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in uids.spans)
