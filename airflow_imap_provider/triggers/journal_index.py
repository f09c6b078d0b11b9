"""The index of an asset's journals as it is stored: small, since it is read and written with every event.

Each start of a trigger begins a journal that is kept for a month, and Airflow warns of values over 64 KiB. Streams are
named once, and moments are seconds since 1970: some 45 bytes for a journal, so about 1,400 of them, or 46 starts a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

__all__ = ["Journals", "dumped", "listed"]

Journals = list[dict[str, str]]
"""``id``, ``stream``, ``since``, and ``ended``, which is empty while it is written; moments in ISO 8601."""


def listed(stored: Any) -> Journals:
    """Return the journals of a stored index, in its order.

    :param stored: what :func:`dumped` made, nothing, or the list of dicts that earlier versions stored.
    """
    if not isinstance(stored, dict):
        return [dict(journal) for journal in stored or ()]
    streams = stored["streams"]
    return [
        {"id": name, "stream": streams[number], "since": _moment(since), "ended": _moment(ended) if ended else ""}
        for name, number, since, ended in stored["journals"]
    ]


def dumped(journals: Iterable[dict[str, str]]) -> dict[str, Any]:
    """Return the form in which an index is stored."""
    streams: dict[str, int] = {}
    rows = [
        [
            journal["id"],
            streams.setdefault(journal["stream"], len(streams)),
            _seconds(journal["since"]),
            _seconds(journal["ended"]) if journal["ended"] else 0,
        ]
        for journal in journals
    ]
    return {"streams": list(streams), "journals": rows}


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
