"""What an operations engineer wants to know of a stream, kept in the asset's state store: no metrics stack is needed.

Written when something has changed, at once if that is the connection, else once a minute at most; an unchanged state is
confirmed every ten minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_imap_provider.mailbox.outage import CONNECTING, WatcherState
from airflow_imap_provider.mailbox.reader import Batch
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.triggers.store import AssetStore, Stream

__all__ = ["Health"]

log = logging.getLogger(__name__)

OFTENEST = 60.0
"""Seconds between two writes at least: ten thousand streams must not keep Airflow's API busy."""

OFTENEST_NEWS = 5.0
"""The same when the connection was lost or made again: that is what somebody is looking for."""

CONFIRM = 600.0
"""Seconds after which an unchanged state is written again, so that an old entry means a dead trigger."""


class Health:
    """The health entry of one stream: ``imap4:health:…`` in the asset's state store.

    Its fields: ``connected``, ``since`` (of that state), ``last_catch_up`` (when the folder was last read to its end),
    ``last_error`` (why there is no connection), ``lag`` (seconds from a mail's arrival at the server to its event, of
    the last event), ``told`` (mails told since this trigger started), ``pending_actions``, ``failed_actions`` (given up
    since then), ``last_action_error``.
    """

    def __init__(self, store: AssetStore, stream: Stream, clock: Clock) -> None:
        self._store, self._key, self._clock = store, stream.key("health"), clock
        self._last_catch_up = ""
        self._lag = 0.0
        self._told = 0
        self._written: dict[str, Any] = {}
        self._written_at = float("-inf")

    def caught_up(self, batch: Batch) -> None:
        """A batch was read."""
        now = self._clock.now()
        if not batch.more:
            self._last_catch_up = now.isoformat()
        if batch.mails:
            self._told += len(batch.mails)
            self._lag = round(max((now - batch.mails[-1].received).total_seconds(), 0.0), 1)

    async def note(self, state: WatcherState, actions: Mapping[str, Any]) -> None:
        """Write the entry if it is time to.

        :param actions: what there is to tell of them.
        """
        if state.error == CONNECTING:
            return
        age = self._clock.monotonic() - self._written_at
        entry = {
            "connected": state.connected,
            "since": state.since.isoformat(),
            "last_error": state.error,
            "lag": self._lag,
            "told": self._told,
            **actions,
        }
        news = any(entry[key] != self._written.get(key) for key in ("connected", "last_error", "last_action_error"))
        if age < (OFTENEST_NEWS if news else OFTENEST) or (entry == self._written and age < CONFIRM):
            return
        self._written_at = self._clock.monotonic()
        try:
            await self._store.write(self._key, {**entry, "last_catch_up": self._last_catch_up})
        except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here, and its client's
            log.warning("the health entry cannot be written: %s", error)
        else:
            self._written = entry
