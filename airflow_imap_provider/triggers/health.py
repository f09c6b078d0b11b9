"""What an operations engineer wants to know of a stream, kept in the asset's state store: no metrics stack is needed.

Who has one gets the same numbers as metrics (:mod:`airflow_imap_provider.triggers.metrics`). The entry is written when
something has changed, at once if that is the connection, else once a minute at most; an unchanged state is confirmed
every ten minutes. Nothing that has changed waits for the next mail: :meth:`Health.note` says when to call it again.
"""

from __future__ import annotations

import logging
import secrets
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any

from airflow_imap_provider.mailbox.outage import CONNECTING, WatcherState
from airflow_imap_provider.mailbox.reader import Batch
from airflow_imap_provider.transport.clock import Clock
from airflow_imap_provider.triggers.complaints import complain
from airflow_imap_provider.triggers.metrics import Metrics
from airflow_imap_provider.triggers.store import AssetStore, Stream

__all__ = ["OFTENEST_NEWS", "Health"]

log = logging.getLogger(__name__)

OFTENEST = 60.0
"""Seconds between two writes at least: ten thousand streams must not keep Airflow's API busy."""

OFTENEST_NEWS = 5.0
"""The same for news: that is what somebody is looking for."""

NEWS = ("connected", "caught_up", "last_error", "last_action_error", "held_up", "last_incomplete")
"""What is written sooner if it has changed."""

SIGHTINGS = 3
"""How often another one must have written the entry, between ours, until it is no hand-over of an edited DAG any more.
An entry that does not change is written every ten minutes."""

FIRST_LOOK = 60.0
"""Seconds for which the first entry waits for the first look into the folder: one that says "connected" and no more
would be followed by another at once, ten thousand times when a triggerer starts."""

CONFIRM = 600.0
"""Seconds after which an unchanged state is written again, so that an old entry means a dead trigger."""


class Health:
    """The health entry of one stream: ``imap4:health:…`` in the asset's state store.

    Its fields: ``connected``, ``since`` (of that state), ``last_catch_up`` (when the folder was last read to its end),
    ``last_error`` (why there is no connection), ``lag`` (seconds from a mail's arrival at the server to its event, of
    the last event), ``told`` (mails told since this trigger started), ``pending_actions``, ``failed_actions`` (given up
    since then), ``last_action_error``, ``held_up`` (the mail that the folder is not read beyond at present, and why),
    ``incomplete`` (mails handled without something that the server did not give, since this trigger started),
    ``last_incomplete`` (the last one, and why), ``noted`` (when the entry was written), ``by`` (who has written it:
    ``instance``, ``host``, and a mark of what it looks for).

    :param wish: a mark of what this trigger looks for; two triggers with one place and different wishes are a mistake.
    """

    def __init__(self, store: AssetStore, stream: Stream, clock: Clock, wish: str) -> None:
        self._store, self._stream, self._key, self._clock = store, stream, stream.key("health"), clock
        self._by = {"instance": secrets.token_hex(6), "host": socket.gethostname(), "wish": wish}
        self._others: Counter[str] = Counter()
        self._last_catch_up = ""
        self._lag = 0.0
        self._told = 0
        self._metrics = Metrics(stream)
        self._connects = 0
        self._failed_actions = 0
        self._incomplete = 0
        self._last_incomplete = ""
        self._held_up = ""
        self._looked = False
        self._began = clock.monotonic()
        self._written: dict[str, Any] = {}
        self._written_at = float("-inf")
        self._told_written_at = float("-inf")
        self._refused = False

    def caught_up(self, batch: Batch) -> None:
        """A batch was read."""
        now = self._clock.now()
        self._looked = True
        self._metrics.count("mails_seen", batch.seen)
        self._metrics.count("mails_matched", len(batch.mails))
        self._metrics.count("mails_incomplete", len(batch.incomplete))
        self._incomplete += len(batch.incomplete)
        self._last_incomplete = batch.incomplete[-1] if batch.incomplete else self._last_incomplete
        self._held_up = batch.held_up
        self._metrics.gauge("held_up", int(bool(batch.held_up)))
        if not batch.more and not batch.held_up:
            self._last_catch_up = now.isoformat()
            self._metrics.gauge("last_catch_up", int(now.timestamp()))
        if batch.mails:
            self._told += len(batch.mails)
            self._lag = round(max((now - batch.mails[-1].received).total_seconds(), 0.0), 1)
            self._metrics.gauge("lag", self._lag)

    def handed_over(self, mails: int) -> None:
        """An event with so many mails was given to Airflow."""
        self._metrics.count("mails_told", mails)

    def committed(self, mails: int) -> None:
        """The place has passed so many mails whose event is stored."""
        self._metrics.count("mails_committed", mails)

    async def note(self, state: WatcherState, actions: Mapping[str, Any], connects: int) -> float | None:
        """Write the entry if it is time to.

        :param actions: what there is to tell of them.
        :param connects: how often the connection was made so far; the first time is no reconnect.
        :returns: in how many seconds to call it again for what has changed and could not be written yet; ``None`` if
            there is nothing.
        """
        if state.error == CONNECTING:
            return None
        self._metrics.gauge("connected", int(state.connected))
        self._metrics.count("reconnects", connects - self._connects if self._connects else 0)
        self._metrics.gauge("actions_pending", actions["pending_actions"])
        self._metrics.count("actions_failed", actions["failed_actions"] - self._failed_actions)
        self._connects, self._failed_actions = connects, actions["failed_actions"]
        entry = {
            "connected": state.connected,
            "since": state.since.isoformat(),
            "last_error": state.error,
            "lag": self._lag,
            "told": self._told,
            "caught_up": bool(self._last_catch_up),
            "held_up": self._held_up,
            "incomplete": self._incomplete,
            "last_incomplete": self._last_incomplete,
            **actions,
        }
        clock = self._clock.monotonic()
        if not self._looked and not self._written and state.connected and not state.error:
            wait = self._began + FIRST_LOOK - clock
            if wait > 0:
                return None  # what the first look finds is noted, and so is its failure
        age = clock - self._written_at
        if entry == self._written:
            if age < CONFIRM:
                return None
        elif (wait := self._oftenest(entry, clock) - age) > 0:
            return wait
        self._written_at = clock
        try:
            await self._look_for_others()
            noted = self._clock.now().isoformat()
            about = {"by": self._by, "last_catch_up": self._last_catch_up, "noted": noted}
            await self._store.write(self._key, {**entry, **about})
        except Exception as error:  # noqa: BLE001 - Airflow raises its own errors here, and its client's
            complain("a health entry cannot be written", error)
            self._refused = True
            return OFTENEST
        if entry["told"] != self._written.get("told", 0):
            self._told_written_at = clock
        self._written, self._refused = entry, False
        return None

    def _oftenest(self, entry: Mapping[str, Any], clock: float) -> float:
        """Return the seconds to the write before that this entry must keep."""
        if self._refused:
            return OFTENEST  # an Airflow that is away is not asked more often
        if any(entry[key] != self._written.get(key) for key in NEWS):
            return OFTENEST_NEWS
        # What was told after a quiet minute is news; a stream that tells all the time has one write a minute.
        told = entry["told"] != self._written.get("told", 0) and clock - self._told_written_at >= OFTENEST
        return OFTENEST_NEWS if told else OFTENEST

    async def _look_for_others(self) -> None:
        """Notice another triggerer that writes this entry too; within one the subscribers notice each other."""
        for entry in await self._store.read(self._key):
            other = (entry or {}).get("by") or {}
            instance = other.get("instance", "")
            if not self._written or not instance or instance == self._by["instance"]:
                continue  # before the first entry of our own it is our predecessor's
            self._others[instance] += 1
            if self._others[instance] != SIGHTINGS:
                continue
            if other["wish"] == self._by["wish"]:
                log.warning(
                    "The triggerer on %s runs the watcher of %s of %s too, as after a fail-over: mails are told twice "
                    "and taken once. If it does not end, look at the triggerers' heartbeats.",
                    other["host"],
                    self._stream.folder,
                    self._stream.conn_id,
                )
            else:
                log.error(
                    "Two watchers of the asset %s, here and in the triggerer on %s, read the folder %s of %s with the "
                    "same place %r: each passes mails that only the other one wants. Give each its own: "
                    "EmailTrigger(place=...).",
                    ", ".join(self._store.assets),
                    other["host"],
                    self._stream.folder,
                    self._stream.conn_id,
                    self._stream.place,
                )
