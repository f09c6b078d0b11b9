"""What a consumer has taken from an asset's event log, and what it may take next. No I/O and no Airflow.

The log is the queue: events may stand in it twice (after a crash or a fail-over) and out of order, but every mail that
was told stands in it. A consumer keeps, for each stream and generation of UIDs, the ranges that it has taken; what an
event covers beyond them is new. A run claims what it takes in the same record in which the ranges grow, so that there
is no moment at which a mail is taken and belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_imap_provider.mailbox.ranges import UidRanges

__all__ = ["Claim", "Event", "Record", "Taking"]

GENERATIONS = 4
"""Generations of UIDs kept for a stream: events of older ones are no news any more."""

CLAIMS_AT_HAND = 8
"""Claims kept in the record itself; older ones stand under keys of their own."""


@dataclass(frozen=True)
class Event:
    """One entry of the asset's event log.

    :param timestamp: when Airflow stored it.
    :param payload: what :class:`~airflow_imap_provider.triggers.email.EmailTrigger` told; anything else is no mail.
    """

    timestamp: datetime
    payload: Mapping[str, Any]

    @property
    def generation(self) -> str:
        """Which UIDs are meant: they mean other mails after a reset or a change of UIDVALIDITY."""
        return f"{self.payload['epoch']}.{self.payload['uidvalidity']}"


@dataclass(frozen=True)
class Claim:
    """What a run has taken, small enough to keep, and enough to find the mails in the log again.

    :param first: time of the earliest event that was used, :param last: of the latest.
    :param uids: by stream and generation, the UIDs of the mails.
    :param count: how many mails.
    """

    first: datetime
    last: datetime
    uids: dict[str, dict[str, UidRanges]]
    count: int

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "uids": _dump(self.uids),
            "count": self.count,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Claim:
        """Rebuild a claim from :meth:`to_json`'s form."""
        return cls(
            datetime.fromisoformat(data["first"]),
            datetime.fromisoformat(data["last"]),
            _load(data["uids"]),
            data["count"],
        )

    def collect(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Return the claimed mails from the log, each once; fewer than :attr:`count` if events are gone."""
        emails: dict[tuple[str, str, int], dict[str, Any]] = {}
        for event in events:
            stream = event.payload["stream"]
            claimed = self.uids.get(stream, {}).get(event.generation, UidRanges())
            for email in event.payload["emails"]:
                if email["uid"] in claimed:
                    emails.setdefault((stream, event.generation, email["uid"]), dict(email))
        return list(emails.values())


@dataclass
class Record:
    """A consumer's record.

    :param begin: events before this moment are not this consumer's; ``None``: all are.
    :param seen: time of the newest event that was used up.
    :param ranges: by stream and generation, what is taken.
    :param nudged: by stream, the last UID of the newest nudge that was seen.
    :param claims: the newest claims by run id.
    :param runs: how many runs have taken something.
    """

    begin: datetime | None = None
    seen: datetime | None = None
    ranges: dict[str, dict[str, UidRanges]] = field(default_factory=dict)
    nudged: dict[str, int] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    runs: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the stored form. ``streams`` is what the trigger looks at to see whether to nudge."""
        return {
            "begin": self.begin.isoformat() if self.begin else "",
            "seen": self.seen.isoformat() if self.seen else "",
            "streams": {
                stream: {"generations": generations, "nudged": self.nudged.get(stream, 0)}
                for stream, generations in _dump(self.ranges).items()
            },
            "claims": {run_id: claim.to_json() for run_id, claim in self.claims.items()},
            "runs": self.runs,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Rebuild a record from :meth:`to_json`'s form."""
        streams = data["streams"]
        return cls(
            begin=datetime.fromisoformat(data["begin"]) if data["begin"] else None,
            seen=datetime.fromisoformat(data["seen"]) if data["seen"] else None,
            ranges=_load({stream: item["generations"] for stream, item in streams.items()}),
            nudged={stream: item["nudged"] for stream, item in streams.items()},
            claims={run_id: Claim.from_json(claim) for run_id, claim in data["claims"].items()},
            runs=data["runs"],
        )

    @staticmethod
    def covers(data: Mapping[str, Any] | None, stream: str, generation: str, uid: int) -> bool:
        """Tell from a stored record whether its consumer is done with a UID, or with a nudge for it."""
        item = ((data or {}).get("streams") or {}).get(stream)
        if not item or generation not in item["generations"]:
            return False
        return uid in UidRanges.of(item["generations"][generation]) or item["nudged"] == uid


class Taking:
    """Takes mails from the log for one run.

    Feed it events in the order of their times until it says that it has enough; then :meth:`claim`.

    :param record: the consumer's record; it is changed.
    :param most: mails to take at most.
    """

    def __init__(self, record: Record, most: int) -> None:
        self.record = record
        self.emails: list[dict[str, Any]] = []
        self.enough = False
        self._most = most
        self._times: list[datetime] = []
        self._uids: dict[str, dict[str, UidRanges]] = {}

    def feed(self, event: Event) -> None:
        """Use one event; sets :attr:`enough` if mails of it are left for another run."""
        if self.record.begin is not None and event.timestamp < self.record.begin:
            return
        stream, generation = event.payload["stream"], event.generation
        generations = self.record.ranges.setdefault(stream, {})
        if generation not in generations and not _make_room(generations, generation):
            return
        before = generations[generation]
        fresh = [email for email in event.payload["emails"] if email["uid"] not in before]
        room = self._most - len(self.emails)
        took, left = fresh[:room], fresh[room:]
        # Up to the first mail that is left, everything that the event covers is taken, matching or not.
        last = left[0]["uid"] - 1 if left else event.payload["last_uid"]
        generations[generation] = before.union(UidRanges.of([(event.payload["first_uid"], last)]))
        if took:
            self._times.append(event.timestamp)
            mine = self._uids.setdefault(stream, {})
            new = UidRanges.of((email["uid"], email["uid"]) for email in took)
            mine[generation] = mine.get(generation, UidRanges()).union(new)
            self.emails += [dict(email) for email in took]
        if left:
            self.enough = True
            return
        if event.payload.get("nudge"):
            self.record.nudged[stream] = event.payload["nudge"]
        self.record.seen = max(self.record.seen or event.timestamp, event.timestamp)

    def claim(self, run_id: str) -> Claim | None:
        """Enter the claim into the record and return it; ``None`` if nothing was taken."""
        if not self.emails:
            return None
        claim = Claim(min(self._times), max(self._times), self._uids, len(self.emails))
        kept = list(self.record.claims.items())[-(CLAIMS_AT_HAND - 1) :]
        self.record.claims = {**dict(kept), run_id: claim}
        self.record.runs += 1
        return claim


def _make_room(generations: dict[str, UidRanges], generation: str) -> bool:
    """Add a generation and drop the oldest; refuse one that is older than all that are kept."""
    if len(generations) >= GENERATIONS:
        oldest = min(generations, key=_epoch)
        if _epoch(generation) <= _epoch(oldest):
            return False
        del generations[oldest]
    generations[generation] = UidRanges()
    return True


def _epoch(generation: str) -> int:
    return int(generation.split(".", maxsplit=1)[0])


def _dump(ranges: Mapping[str, Mapping[str, UidRanges]]) -> dict[str, dict[str, list[list[int]]]]:
    return {stream: {key: item.dumps() for key, item in generations.items()} for stream, generations in ranges.items()}


def _load(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, UidRanges]]:
    return {
        stream: {key: UidRanges.of(item) for key, item in generations.items()} for stream, generations in data.items()
    }
