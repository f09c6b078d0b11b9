"""The trigger behind a deferred EmailSensor: waits for mails on the connection that all watchers of a folder share."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mailbox.waiting import Signal

if TYPE_CHECKING:
    from airflow_imap_provider.mailbox.place import Place
    from airflow_imap_provider.mailbox.reader import Reader
    from airflow_imap_provider.mailbox.watcher import FolderWatcher

__all__ = ["EmailWaitTrigger", "FoundEvent"]

log = logging.getLogger(__name__)


class FoundEvent(TriggerEvent):
    """An event whose representation, which Airflow logs, shows how much was found and not what."""

    def __repr__(self) -> str:
        return f"<FoundEvent {len(self.payload['emails'])} mails>"

    __str__ = __repr__


class EmailWaitTrigger(BaseTrigger):
    """Fires once, when enough mails that meet the conditions are in a folder.

    :param wish: the arguments of :class:`~airflow_imap_provider.mailbox.reader.Wish`, with conditions as JSON text.
    :param folders: where to look; the wish's own folder when left out.
    :param start: the start policy, as :func:`~airflow_imap_provider.mailbox.place.parse_start` returns it.
    :param activated: when the waiting began, ISO 8601; a restarted triggerer goes on from there.
    :param min_count: how many mails are enough.
    :param poll_interval: seconds between polls, beside IDLE as a safety net.
    :param idle: whether IDLE may be used.
    """

    acts = False

    def __init__(
        self,
        *,
        wish: dict[str, Any],
        folders: Sequence[str] = (),
        start: str,
        activated: str,
        min_count: int,
        poll_interval: float,
        idle: bool,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.wish = wish
        self.folders = list(folders) or [wish["folder"]]
        self.start = start
        self.activated = activated
        self.min_count = min_count
        self.poll_interval = poll_interval
        self.idle = idle
        self._rung: Signal | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            "airflow_imap_provider.triggers.wait.EmailWaitTrigger",
            {
                "wish": self.wish,
                "folders": self.folders,
                "start": self.start,
                "activated": self.activated,
                "min_count": self.min_count,
                "poll_interval": self.poll_interval,
                "idle": self.idle,
            },
        )

    def wake(self) -> None:
        """Something may be new, or the connection's state has changed."""
        if self._rung is not None:
            self._rung.set()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event with the mails. Network errors only delay it; the sensor's timeout ends the waiting."""
        from airflow_imap_provider.mailbox import executor
        from airflow_imap_provider.triggers.email import load

        await executor.working(load)
        from airflow_imap_provider.hooks.settings import async_settings
        from airflow_imap_provider.mailbox import watcher as watching
        from airflow_imap_provider.mailbox.place import first_place
        from airflow_imap_provider.mailbox.reader import Reader, Wish

        wish = Wish.from_json(self.wish)
        self._rung = Signal()
        first = first_place(self.start, datetime.fromisoformat(self.activated))
        looks: list[_Look] = []
        try:
            for folder in self.folders:
                watcher = watching.join((wish.conn_id, folder), self, lambda: async_settings(wish.conn_id))
                looks.append(_Look(watcher, Reader(replace(wish, folder=folder), patient=True), first))
            while sum(len(look.emails) for look in looks) < self.min_count:
                await self._rung.wait()
                self._rung.clear()
                for look in looks:
                    await self._look(look, first)
        finally:
            for look in looks:
                await watching.leave((wish.conn_id, look.reader.wish.folder), self)
        yield FoundEvent(payload={"emails": [email for look in looks for email in look.emails]})

    async def _look(self, look: _Look, first: Place) -> None:
        """Read what is new in one folder."""
        try:
            batch = await look.watcher.read(self, look.reader, look.place)
        except SettingsError:
            raise  # nothing will come of waiting: the sensor fails, and says why
        except ImapError as error:
            log.debug("nothing read: %s", error)  # the watcher reports it, reconnects and wakes
            return
        if batch.notice:
            # The folder was re-created, or another one: the UIDs gathered so far mean other mails now.
            look.emails, look.place = [], first
            self.wake()
            return
        look.place = batch.place
        look.emails += batch.emails
        if batch.more:
            self.wake()

    async def cleanup(self) -> None:
        """Nothing to do: the folder is given up when the waiting ends, and nothing is changed in the mailbox."""


@dataclass
class _Look:
    """One folder, and what was found in it."""

    watcher: FolderWatcher
    reader: Reader
    place: Place
    emails: list[dict[str, Any]] = field(default_factory=list)
