"""Watches one folder over one connection for everybody in this process who is interested in it.

The connection rests in IDLE on the event loop, without a thread. Whatever the server says there is only a hint: the
watcher wakes its members, and they read what is new for their own place, one after the other, in a worker thread. A
session is owned by exactly one side at a time, the loop or one worker. Members are also woken after every (re)connect
and by the safety poll, so that a server that forgets to push, or has no IDLE, costs time and not mail.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import (
    AuthenticationError,
    ImapError,
    LostConnectionError,
    RefusedError,
    SettingsError,
)
from airflow_imap_provider.mailbox import executor, garbage, pacing
from airflow_imap_provider.mailbox.asking import SettingsSource
from airflow_imap_provider.mailbox.backoff import Backoff
from airflow_imap_provider.mailbox.entrance import entrance, route
from airflow_imap_provider.mailbox.members import Member, Members
from airflow_imap_provider.mailbox.outage import Reporter, WatcherState
from airflow_imap_provider.mailbox.pacing import turnstile
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.mailbox.reader import BATCH_SECONDS, Batch, Reader
from airflow_imap_provider.mailbox.refitting import reopened
from airflow_imap_provider.mailbox.waiting import Signal
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock
from airflow_imap_provider.transport.session import FolderStatus, Session, open_session

if TYPE_CHECKING:
    from airflow_imap_provider.transport.idle import IdleChannel

__all__ = ["FolderWatcher", "Member", "join", "leave"]

log = logging.getLogger(__name__)
T = TypeVar("T")

SHORT_IDLE = 30.0
"""Seconds that a server should stay in IDLE before it ends that by itself; most do so after half an hour, if ever."""

SHORT_IDLES = 2
"""How often in a row a server may refuse IDLE, or end it at once, until it is polled."""

SETTLING = 0.05
"""Seconds in which members that were just woken come to read, before the connection goes (back) to IDLE."""

LOGOUT_LIMIT = 5.0
"""Seconds a farewell may take before the connection is simply closed."""


class FolderWatcher:
    """One connection that watches one folder.

    :param settings: gives the connection's settings; asked before every attempt, so that an edited connection is used
        at the next reconnect.
    :param folder: the folder's name.
    :param conn_id: names the connection in the log.
    """

    def __init__(
        self, settings: Callable[[], Awaitable[Settings]], folder: str, conn_id: str, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._clock = clock
        self.folder = folder
        self._name = f"{folder} of {conn_id}"
        self.members = Members()
        self._reporter = Reporter(self._name, clock)
        self._backoff = Backoff()
        self._lock = asyncio.Lock()
        self._users = 0
        self._changed = Signal()
        self._settings = SettingsSource(settings, self._name, clock, self._changed.set)
        self._session: Session | None = None
        self.opening: FolderStatus | None = None
        """What the last opening of the folder has said, another object each time: its UIDs mean what they meant to
        those who have read since."""
        self._channel: IdleChannel | None = None
        self._idle_refused = False
        self._short_idles = 0
        self._idle_since = 0.0
        self._opened_at = 0.0
        self._for_reading = True  # as it was asked for: a server may open a folder for reading only whatever is asked
        self._rested = False
        self._host: Hashable = None
        self.connects = 0
        self._lost: ImapError | None = None
        self._task: asyncio.Task[None] | None = None
        self._running: tuple[asyncio.Task[Any], ...] = ()

    @property
    def state(self) -> WatcherState:
        """Whether there is a connection, since when, and why not."""
        return self._reporter.state

    # --- members ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name=f"imap4 {self._name}")

    async def stop(self) -> None:
        """Log out and end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._settings.close()
        if self._running:
            await asyncio.wait(self._running, timeout=LOGOUT_LIMIT)
        if self._running and self._session is not None:
            self._session.close()  # ends what still waits for an answer
        await self._drop_session(polite=True)

    async def read(self, member: Member, reader: Reader, place: Place) -> Batch:
        """Return the next batch after ``place`` for a member.

        :raises ImapError: if there is no connection or it breaks; the member is woken when there is one again.
        """

        def work(session: Session, status: FolderStatus) -> Batch:
            # Counted from here, where nobody else has the session; whoever waits for it comes within two rounds.
            return reader.read(session, status, place, seconds=BATCH_SECONDS / max(len(self.members), 1))

        batch = await self.use(work)
        self.members.has_read(member, batch.arrivals)
        self._backoff.reset()
        self._reporter.well()
        return batch

    async def use(self, work: Callable[[Session, FolderStatus], T], *, writing: bool = False) -> T:
        """Run blocking ``work`` with the session, out of IDLE, in a worker thread, alone.

        If the caller is cancelled, the work ends in the background, so that the others keep their connection.

        :param writing: the folder must be open for writing.
        :raises LostConnectionError: if there is no connection at present; members are woken when there is one.
        """
        begun = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._use(work, begun, writing=writing))
        self._running += (task,)
        task.add_done_callback(self._used)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not begun.is_set():
                task.cancel()  # it still waits for its turn, and nobody wants the result
            raise
        finally:
            del task

    def _used(self, task: asyncio.Task[Any]) -> None:
        self._running = tuple(one for one in self._running if one is not task)
        if not task.cancelled():
            task.exception()  # fetched here because the caller may be gone

    async def _use(self, work: Callable[[Session, FolderStatus], T], begun: asyncio.Event, *, writing: bool) -> T:
        self._users += 1
        self._changed.set()
        try:
            async with self._lock:
                begun.set()
                session = await self._ready_session(writing=writing)
                try:
                    result = await executor.working(lambda: work(session, session.folder), self._host)
                    self._see_opening(session.folder)
                    return result
                except SettingsError:
                    raise  # it is about one member's wishes, and no reason to take the folder from the others
                except ImapError as error:
                    if not (writing and session.usable):
                        # Refusals that concern single mails do not come out of a reader: the folder itself is in
                        # trouble (deleted, say), and opening it anew tells what it is.
                        self._lose(error)
                    raise
        finally:
            self._users -= 1
            self._changed.set()

    async def _ready_session(self, *, writing: bool) -> Session:
        if self._session is None or self._lost is not None:
            raise LostConnectionError("there is no connection at present", stage="folder", reply=self.state.error)
        await self._stop_idle()
        session = self._session
        # STORE in a folder opened with EXAMINE is refused, ignored or even carried out, depending on the server.
        for_writing = writing and self._for_reading
        # Actions wait for somebody to have read in the new opening: what reads opens it anew.
        due = not writing and self._clock.monotonic() - self._opened_at >= pacing.REOPENING
        if for_writing or due:
            readonly = self._for_reading and not writing
            try:
                status = await executor.working(lambda: reopened(session, readonly=readonly), self._host)
            except ImapError as error:
                self._lose(error)
                raise
            self._for_reading = readonly
            self._see_opening(status)
        return session

    def _see_opening(self, opening: FolderStatus) -> None:
        if opening is not self.opening:
            self.opening, self._opened_at = opening, self._clock.monotonic()
            if len(self.members) > 1 or self.members.acts:
                self.members.wake_all()

    # --- the connection -----------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            try:
                await self._connect()
                await self._serve()
            except _SettingsEditedError:
                log.info("the connection of %s was edited; connecting anew", self._name)
                await self._drop_session(polite=True)
                continue
            except ImapError as error:
                failure = copy.copy(error)  # without its traceback, which would stay as long as this variable
            except Exception as error:
                log.exception("unexpected error while watching %s", self._name)
                failure = ImapError(f"{type(error).__name__} while watching", stage="settings")
            await self._drop_session(polite=False)
            delay = self._backoff.next(failure)
            async with turnstile():
                self._reporter.failed(failure, delay)
                self.members.wake_all()
                await asyncio.sleep(0)
            if isinstance(failure, (AuthenticationError, SettingsError)) or delay > pacing.SETTINGS_RENEWAL / 2:
                await self._wait_or_see_new_settings(delay)
            else:
                await asyncio.sleep(delay)

    async def _wait_or_see_new_settings(self, delay: float) -> None:
        pause, end = pacing.glance(delay, len(_watchers)), self._clock.monotonic() + delay
        while (rest := end - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(rest, pause))
            if rest > pause and await self._settings.have_changed(rest - pause):
                return

    async def _connect(self) -> None:
        settings = await self._settings.get()
        readonly = self._for_reading = not self.members.acts
        self._host = route(settings)

        def connect() -> tuple[Session, FolderStatus]:
            session = open_session(settings, clock=self._clock)
            try:
                return session, session.select(self.folder, readonly=readonly)
            except BaseException:
                session.close()
                raise

        turn = await entrance().enter(self._host, settings.host)
        connecting = asyncio.ensure_future(turn.spend(executor.connecting(connect)))
        try:
            self._session, self.opening = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_close_unused)
            raise
        finally:
            # A future that failed, and a frame in its error's traceback that knows the future, are a circle: without
            # this every failed attempt would wait for the garbage collector, here as below.
            del connecting
        self._lost, self._opened_at = None, self._clock.monotonic()
        self._idle_refused, self._short_idles = False, 0
        self.members.begin_anew()
        self._rested = False
        self.connects += 1
        self._reporter.connected(settings.host)
        self.members.wake_all()

    async def _serve(self) -> None:
        """Keep the session in IDLE while nobody works with it, until it is lost."""
        loop = asyncio.get_running_loop()
        while True:
            if self._lost is not None:
                raise self._lost
            self._changed.clear()
            if self._settings.edited:
                raise _SettingsEditedError
            if self._settings.until_look() <= 0:
                self._settings.look()
            if self._users:
                await self._changed.wait(self._settings.until_look())
                continue
            if self._channel is None:
                if await self._changed.wait(SETTLING):
                    continue
                async with self._lock:
                    if self._lost is None and self._users == 0:
                        self._rest(loop)
            if not await self._changed.wait(self._pause()):
                async with self._lock:
                    # Leaving IDLE is a round trip: it proves that the connection lives.
                    await self._stop_idle()
                self.members.wake_all()

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        session = self._session
        assert session is not None
        # Announced in the answer to another command: the server will not announce it again in IDLE.
        self.members.wake_behind(session.arrivals)
        if session.has("IDLE") and not self._idle_refused and self.members.idle:
            channel = session.idle_channel()
            channel.start(loop, self.members.wake_all, self._idle_ended)
            self._channel, self._idle_since = channel, self._clock.monotonic()

    def _pause(self) -> float:
        """Return the seconds until the next safety poll, which renews IDLE too."""
        first, self._rested = not self._rested, True
        wanted = self.members.poll_interval(pacing.IDLE_RENEWAL)
        pause = pacing.poll_pause(wanted, idle=self._channel is not None, first=first, folders=len(_watchers))
        return min(pause, max(self._settings.until_look(), 0.0))

    async def _stop_idle(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            return
        try:
            await channel.stop()
        except ImapError as error:
            self._lose(error)
            raise

    def _idle_ended(self, error: ImapError) -> None:
        self._channel = None
        if isinstance(error, RefusedError):
            # Some servers announce IDLE and do not have it, or not in every folder; others end it now and then.
            self._short_idles = self._short_idles + 1 if self._clock.monotonic() - self._idle_since < SHORT_IDLE else 0
            if self._short_idles >= SHORT_IDLES:
                log.info("the server does not keep %s in IDLE; polling it instead: %s", self._name, error)
                self._idle_refused = True
            self.members.wake_all()
            self._changed.set()
        else:
            self._lose(error)

    def _lose(self, error: ImapError) -> None:
        if self._lost is None:
            self._lost = copy.copy(error)
        self._changed.set()

    async def _drop_session(self, *, polite: bool) -> None:
        async with self._lock:
            session, self._session = self._session, None
            channel, self._channel = self._channel, None
            self.opening = None
            if session is None:
                return
            if channel is not None:
                if polite and self._lost is None:
                    await asyncio.gather(channel.stop(), return_exceptions=True)
                else:
                    channel.abandon()
            if polite and session.usable and self._lost is None:
                farewell = asyncio.ensure_future(executor.working(session.logout))
                await asyncio.wait([farewell], timeout=LOGOUT_LIMIT)
            session.close()


class _SettingsEditedError(Exception):
    """The connection's settings are others than those of the session."""


def _close_unused(connecting: asyncio.Future[tuple[Session, FolderStatus]]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result()[0].close()


_watchers: dict[tuple[int, tuple[str, str]], FolderWatcher] = {}
"""The watchers of this process by event loop and key."""


def join(key: tuple[str, str], member: Member, settings: Callable[[], Awaitable[Settings]]) -> FolderWatcher:
    """Make ``member`` share the one connection to a folder; the first to come opens it, and each is woken at once.

    :param key: the connection's id and the folder's name.
    """
    place = (id(asyncio.get_running_loop()), key)
    watcher = _watchers.get(place)
    if watcher is None:
        watcher = _watchers[place] = FolderWatcher(settings, folder=key[1], conn_id=key[0])
        watcher.start()
        garbage.mailboxes(len(_watchers))
    watcher.members.add(member)
    member.wake()
    return watcher


async def leave(key: tuple[str, str], member: Member) -> None:
    """Take ``member`` away from the folder; the last to leave logs out."""
    place = (id(asyncio.get_running_loop()), key)
    watcher = _watchers.get(place)
    if watcher is None or member not in watcher.members:
        return
    watcher.members.forget(member)
    if not watcher.members:
        del _watchers[place]
        garbage.mailboxes(len(_watchers))
        await watcher.stop()
