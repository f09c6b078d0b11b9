"""What a consumer has taken of what was told, and what it may take next. No I/O and no Airflow.

What was told stands in journals, each append-only and written by one trigger instance. The same mails may be told
twice (after a crash or a fail-over), and by several journals, but every mail that was told stands in one. A consumer
keeps, for each stream and generation of UIDs, the ranges that it has taken; what an entry covers beyond them is new. A
run claims what it takes in the same record in which the ranges grow, so that there is no moment at which a mail is
taken and belongs to nobody.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_imap_provider.mailbox.ranges import UidRanges

__all__ = ["Claim", "Entry", "Record", "Taking", "told_before"]

GENERATIONS = 4
"""Generations of UIDs kept for a stream: mails of older ones are no news any more."""

RECENT = 256
"""Marks kept of a stream's mails that were taken last, as many as a place keeps: 4 KiB."""

RECENT_IN_ALL = 1024
"""Marks kept in a record: streams share them evenly, so that it stays below 64 KiB with many folders on one asset."""

MARK = 16
"""Characters of a mark."""

CLAIMS_AT_HAND = 8
"""Claims kept in the record itself; older ones stand under keys of their own."""

CLOCKS_APART = timedelta(minutes=10)
"""How far the clocks of two triggerers may be apart, and how long an event may be on its way into the database, until a
mail that was told after the one with which a consumer begins could be taken for an earlier one. Airflow itself bears
half a minute: it takes a triggerer whose heartbeat is older for dead."""


@dataclass(frozen=True)
class Entry:
    """One entry of a journal.

    :param journal: the journal's id.
    :param number: its number there, from 0 on.
    :param payload: what :class:`~airflow_imap_provider.triggers.email.EmailTrigger` told.
    """

    journal: str
    number: int
    payload: Mapping[str, Any]

    @property
    def at(self) -> datetime:
        """When it was written, by the clock of the triggerer's host."""
        return datetime.fromisoformat(self.payload["at"])

    @property
    def generation(self) -> str:
        """Which UIDs are meant: they mean other mails after a reset or a change of UIDVALIDITY."""
        return f"{self.payload['epoch']}.{self.payload['uidvalidity']}"


def told_before(entry: Entry, event: Entry) -> bool:
    """Tell whether an entry is certainly older than another one, of which a consumer was woken for the first time.

    One writer's entries are in order, and so are the UIDs of a folder, whoever tells of them. Only where neither helps,
    in another folder or place, the clocks of two hosts are compared, and generously.
    """
    if entry.journal == event.journal:
        return entry.number < event.number
    if (entry.payload["stream"], entry.generation) == (event.payload["stream"], event.generation):
        return bool(entry.payload["last_uid"] < event.payload["first_uid"])
    return entry.at < event.at - CLOCKS_APART


@dataclass(frozen=True)
class Claim:
    """What a run has taken, small enough to keep, and enough to find the mails again.

    :param entries: by journal, the numbers of the entries that were used.
    :param uids: by stream and generation, the UIDs of the mails.
    :param count: how many mails.
    :param number: the how-manieth claim of this consumer it is.
    """

    entries: dict[str, UidRanges]
    uids: dict[str, dict[str, UidRanges]]
    count: int
    number: int

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "entries": {journal: numbers.dumps() for journal, numbers in self.entries.items()},
            "uids": _dump(self.uids),
            "count": self.count,
            "number": self.number,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Claim:
        """Rebuild a claim from :meth:`to_json`'s form."""
        entries = {journal: UidRanges.of(numbers) for journal, numbers in data["entries"].items()}
        return cls(entries, _load(data["uids"]), data["count"], data["number"])

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Go through the journals and numbers of the entries."""
        for journal, numbers in self.entries.items():
            for first, last in numbers.spans:
                for number in range(first, last + 1):
                    yield journal, number

    def collect(self, entries: Iterable[Entry]) -> list[dict[str, Any]]:
        """Return the claimed mails from entries, each once; fewer than :attr:`count` if entries are missing."""
        emails: dict[tuple[str, str, int], dict[str, Any]] = {}
        for entry in entries:
            stream = entry.payload["stream"]
            claimed = self.uids.get(stream, {}).get(entry.generation, UidRanges())
            for email in entry.payload["emails"]:
                if email["uid"] in claimed:
                    emails.setdefault((stream, entry.generation, email["uid"]), dict(email))
        return list(emails.values())


@dataclass
class Record:
    """A consumer's record.

    :param begin: about when the consumer began: journals that ended long before are not its own; ``None``: all are.
    :param starts: by journal that was there when it began, the number of the first entry that is its own. Whatever is
        written later is.
    :param positions: by journal, the number of the next entry; -1 for one that is finished.
    :param ranges: by stream and generation, what is taken.
    :param nudged: by stream, generation and last UID of the newest nudge that was seen.
    :param recent: by stream, the marks of the mails taken last with their generations, oldest first.
    :param claims: the newest claims by run id.
    :param runs: how many runs have taken something.
    """

    begin: datetime | None = None
    starts: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, dict[str, UidRanges]] = field(default_factory=dict)
    nudged: dict[str, str] = field(default_factory=dict)
    recent: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    runs: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the stored form. ``streams`` is what the trigger looks at to see whether to nudge."""
        return {
            "begin": self.begin.isoformat() if self.begin else "",
            "starts": dict(self.starts),
            "positions": dict(self.positions),
            "streams": {
                stream: {
                    "generations": generations,
                    "nudged": self.nudged.get(stream, ""),
                    "recent": _joined(self.recent.get(stream, ())),
                }
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
            starts=dict(data.get("starts", {})),
            positions=dict(data["positions"]),
            ranges=_load({stream: item["generations"] for stream, item in streams.items()}),
            nudged={stream: item["nudged"] for stream, item in streams.items()},
            recent={stream: _parted(item["recent"]) for stream, item in streams.items()},
            claims={run_id: Claim.from_json(claim) for run_id, claim in data["claims"].items()},
            runs=data["runs"],
        )

    @staticmethod
    def covers(data: Mapping[str, Any] | None, stream: str, generation: str, uid: int) -> bool:
        """Tell from a stored record whether its consumer is done with a UID, or with a nudge for it."""
        item = ((data or {}).get("streams") or {}).get(stream)
        if not item:
            return False
        taken = UidRanges.of(item["generations"].get(generation, ()))
        return uid in taken or item["nudged"] == _nudge(generation, uid)


class Taking:
    """Takes mails from entries for one run.

    Feed it entries until it says that it has enough; then :meth:`claim`.

    :param record: the consumer's record; it is changed.
    :param most: mails to take at most.
    """

    def __init__(self, record: Record, most: int) -> None:
        self.record = record
        self.emails: list[dict[str, Any]] = []
        self.enough = False
        self._most = most
        self.outgoing: dict[str, Claim] = {}
        """Claims of earlier runs that make room in the record; they must be stored elsewhere first."""
        self._entries: dict[str, UidRanges] = {}
        self._uids: dict[str, dict[str, UidRanges]] = {}

    def feed(self, entry: Entry) -> None:
        """Use one entry; sets :attr:`enough` if mails of it are left for another run."""
        payload, stream, generation = entry.payload, entry.payload["stream"], entry.generation
        generations = self.record.ranges.setdefault(stream, {})
        if generation in generations or _make_room(generations, generation):
            self._take(entry, stream, generation)
        if self.enough:
            return
        if payload.get("nudge"):
            self.record.nudged[stream] = _nudge(generation, payload["nudge"])
        self.record.positions[entry.journal] = entry.number + 1

    def _take(self, entry: Entry, stream: str, generation: str) -> None:
        payload, before = entry.payload, self.record.ranges[stream][generation]
        known = {mark for other, mark in self.record.recent.get(stream, ()) if other != generation}
        marks = {email["uid"]: _mark(email, payload.get("reset", "")) for email in payload["emails"]}
        # Told, and told once more under another UID: the folder was made anew before the first time was committed.
        fresh = [
            email for email in payload["emails"] if email["uid"] not in before and marks[email["uid"]] not in known
        ]
        room = self._most - len(self.emails)
        took, left = fresh[:room], fresh[room:]
        # Up to the first mail that is left, everything that the entry covers is taken, matching or not.
        last = left[0]["uid"] - 1 if left else payload["last_uid"]
        self.record.ranges[stream][generation] = before.union(UidRanges.of([(payload["first_uid"], last)]))
        self.enough = bool(left)
        if took:
            used = self._entries.get(entry.journal, UidRanges())
            self._entries[entry.journal] = used.union(UidRanges.of([(entry.number, entry.number)]))
            mine = self._uids.setdefault(stream, {})
            new = UidRanges.of((email["uid"], email["uid"]) for email in took)
            mine[generation] = mine.get(generation, UidRanges()).union(new)
            self.emails += [dict(email) for email in took]
            recent = self.record.recent.get(stream, [])
            self.record.recent[stream] = [*recent, *((generation, marks[email["uid"]]) for email in took)]
            share = max(1, min(RECENT, RECENT_IN_ALL // len(self.record.recent)))
            for each, known_there in self.record.recent.items():
                self.record.recent[each] = known_there[-share:]

    def claim(self, run_id: str) -> Claim | None:
        """Enter the claim into the record and return it; ``None`` if nothing was taken."""
        if not self.emails:
            return None
        claim = Claim(self._entries, self._uids, len(self.emails), self.record.runs)
        claims = list(self.record.claims.items())
        self.outgoing = dict(claims[: -(CLAIMS_AT_HAND - 1)])
        self.record.claims = {**dict(claims[-(CLAIMS_AT_HAND - 1) :]), run_id: claim}
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


def _mark(email: Mapping[str, Any], reset: str) -> str:
    """Return a mark that survives a change of UIDVALIDITY: by Message-ID, date and size, as a place's fingerprints.

    :param reset: the reset after which it was told: what comes again because somebody asked for it is new.
    """
    text = f"{reset}\n{email['message_id']}\n{email['received']}\n{email['size']}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:MARK]


def _joined(recent: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Put the marks of one generation that follow each other into one text: most of a record would be punctuation."""
    groups = itertools.groupby(recent, key=lambda known: known[0])
    return [[generation, "".join(mark for _, mark in group)] for generation, group in groups]


def _parted(stored: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    return [
        (generation, marks[start : start + MARK])
        for generation, marks in stored
        for start in range(0, len(marks), MARK)
    ]


def _nudge(generation: str, uid: int) -> str:
    return f"{generation}:{uid}"


def _epoch(generation: str) -> int:
    return int(generation.split(".", maxsplit=1)[0])


def _dump(ranges: Mapping[str, Mapping[str, UidRanges]]) -> dict[str, dict[str, list[list[int]]]]:
    return {stream: {key: item.dumps() for key, item in generations.items()} for stream, generations in ranges.items()}


def _load(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, UidRanges]]:
    return {
        stream: {key: UidRanges.of(item) for key, item in generations.items()} for stream, generations in data.items()
    }
