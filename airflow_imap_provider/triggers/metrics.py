"""The numbers of each stream as Airflow metrics, wherever Airflow sends its own: StatsD, Datadog or OpenTelemetry.

Handing a number over never raises and never waits: a backend resolves names and opens sockets when it is first used, so
all of that happens in a thread of its own. What that thread cannot keep up with is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from typing import Any

from airflow_imap_provider.triggers.store import Stream

__all__ = ["Metrics"]

log = logging.getLogger(__name__)

WAITING = 10_000
"""Numbers that may wait to be sent: a second of what ten thousand streams could have to tell."""

LONGEST_TAG = 60
"""Characters of a tag's value: StatsD's lines with tags, as Airflow writes them, have 250 at most."""

_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_./-]+")

_Number = tuple[str, str, float, dict[str, str]]


class Metrics:
    """The metrics of one stream, tagged with ``conn_id``, ``folder`` and ``place``."""

    def __init__(self, stream: Stream) -> None:
        self._tags = {
            "conn_id": _tag(stream.conn_id),
            "folder": _tag(stream.folder),
            "place": _tag(stream.place),
        }

    def count(self, name: str, number: int) -> None:
        """Add to a counter; nothing for zero."""
        if number:
            _sender().hand_over(("incr", f"imap4.{name}", number, self._tags))

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        _sender().hand_over(("gauge", f"imap4.{name}", value, self._tags))


def _tag(text: str) -> str:
    """What every backend takes for a tag's value: StatsD's separators, blanks and controls become underscores."""
    return _NOT_IN_TAGS.sub("_", text)[:LONGEST_TAG]


class _Sender:
    """Sends from a thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._queue: queue.SimpleQueue[_Number] = queue.SimpleQueue()
        self._off = False
        self._dropped = 0
        threading.Thread(target=self._send_all, name="imap4-metrics", daemon=True).start()

    def hand_over(self, number: _Number) -> None:
        if self._off:
            return
        if self._queue.qsize() >= WAITING:
            self._dropped += 1
            if self._dropped == 1:
                log.warning("the metrics backend does not keep up: some numbers are not sent")
            return
        self._queue.put(number)

    def _send_all(self) -> None:
        try:
            stats = _backend()
        except Exception:
            log.exception("Airflow's metrics cannot be used; the health entries have the same numbers")
            stats = None
        if stats is None:
            self._off = True
            return
        complained = False
        while True:
            kind, name, value, tags = self._queue.get()
            try:
                if kind == "gauge":
                    stats.gauge(name, value, tags=tags)
                else:
                    stats.incr(name, int(value), tags=tags)
            except Exception:
                # Once is enough to know; the numbers that follow are tried all the same.
                if not complained:
                    log.exception("a metric cannot be sent")
                complained = True


def _backend() -> Any:
    """Return Airflow's metrics, or ``None`` if they are switched off."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    if not any(conf.getboolean("metrics", key) for key in ("statsd_on", "statsd_datadog_enabled", "otel_on")):
        return None
    # Airflow does this for tasks, and for triggers only in the supervisor's own copy of the module (3.3.2).
    stats.initialize(
        factory=stats_utils.get_stats_factory(),
        export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
    )
    return stats


_current: _Sender | None = None


def _sender() -> _Sender:
    """The sender of this process: threads do not survive a fork."""
    global _current  # noqa: PLW0603 - one for the process
    if _current is None or _current.process != os.getpid():
        _current = _Sender()
    return _current
