"""The trigger behind a deferred EmailSensor: waits for mails on the connection that all watchers of a folder share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_imap_provider.errors import ImapError

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
        start: str,
        activated: str,
        min_count: int,
        poll_interval: float,
        idle: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.wish = wish
        self.start = start
        self.activated = activated
        self.min_count = min_count
        self.poll_interval = poll_interval
        self.idle = idle
        self._rung: asyncio.Event | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            "airflow_imap_provider.triggers.wait.EmailWaitTrigger",
            {
                "wish": self.wish,
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
        reader = Reader(wish)
        key = (wish.conn_id, wish.folder)
        self._rung = asyncio.Event()
        watcher = watching.join(key, self, lambda: async_settings(wish.conn_id))
        try:
            first = place = first_place(self.start, datetime.fromisoformat(self.activated))
            emails: list[dict[str, Any]] = []
            while True:
                await self._rung.wait()
                self._rung.clear()
                try:
                    batch = await watcher.read(self, reader, place)
                except ImapError as error:
                    log.debug("nothing read: %s", error)  # the watcher reports it, reconnects and wakes
                    continue
                if place.uidvalidity not in (None, batch.place.uidvalidity):
                    # The folder was re-created: the UIDs gathered so far mean other mails now.
                    emails, place = [], first
                    self.wake()
                    continue
                place = batch.place
                emails += batch.emails
                if len(emails) >= self.min_count:
                    break
                if batch.more:
                    self.wake()
        finally:
            await watching.leave(key, self)
        yield FoundEvent(payload={"emails": emails})

    async def cleanup(self) -> None:
        """Nothing to do: the folder is given up when the waiting ends, and nothing is changed in the mailbox."""
