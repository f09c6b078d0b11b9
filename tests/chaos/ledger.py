"""What was sent, what the consumers' own tasks noted down, and the verdict: losses, duplicates, time to recover.

The consumers append a line to a file for every run, so that nothing of Airflow or of this package has to be trusted for
the count. A mail is taken twice if two runs of one DAG noted it; a run that is repeated, cleared or killed may note its
own mails again.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["HEADINGS", "Consumer", "Verdict", "judge", "notes", "row", "table"]

NUMBER = re.compile(r"mail-([\w.]+-\d+)\b")
"""How a mail is known again, in its subject or Message-ID."""

HEADINGS = ("seed", "scenario", "sent", "taken", "lost", "twice", "unwanted", "actions", "recovery s", "remarks")


@dataclass(frozen=True)
class Note:
    """One line of the file."""

    run_id: str
    mails: tuple[str, ...]
    at: float


@dataclass
class Consumer:
    """What a DAG must have taken, and what it may.

    :param due: mails that it must take exactly once.
    :param free: mails that somebody removed before they could be told; at most once.
    :param again: mails of before a reset: it may take them once more.
    :param anew: those of them that it must take once more.
    """

    dag_id: str
    due: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    anew: set[str] = field(default_factory=set)


@dataclass
class Verdict:
    """The outcome of one scenario.

    :param seconds: from the end of the last fault until the last mail was taken.
    :param actions: done and expected.
    :param remarks: what else went wrong, or is worth knowing.
    :param failed: something besides mails and actions is not as it should be.
    """

    seed: int
    scenario: str
    sent: int = 0
    taken: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unwanted: list[str] = field(default_factory=list)
    actions: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    remarks: str = ""
    failed: bool = False

    @property
    def good(self) -> bool:
        """Whether all promises were kept."""
        wrong = self.lost or self.twice or self.unwanted or self.failed
        return not wrong and self.actions[0] == self.actions[1]


def number_of(*texts: object) -> str:
    """Return which mail it is, from its subject and Message-ID."""
    for text in texts:
        found = NUMBER.search(text) if isinstance(text, str) else None
        if found:
            return found.group(1)
    return f"unknown {texts!r}"


def notes(ledger: Path, dag_id: str) -> list[Note]:
    """Return what the tasks of a DAG noted down so far."""
    if not ledger.exists():
        return []
    # The last line may be half written.
    lines = ledger.read_text().rpartition("\n")[0].splitlines()
    found = []
    for line in map(json.loads, lines):
        if line["dag_id"] == dag_id:
            mails = tuple(number_of(*texts) for texts in line["mails"])
            found.append(Note(line["run_id"], mails, line["at"]))
    return found


def judge(verdict: Verdict, consumers: Iterable[Consumer], ledger: Path, healed: float) -> Verdict:
    """Enter losses, duplicates and the time to recover into a verdict, and return it.

    :param healed: when the last fault was over, by the system's monotonic clock, which is what the tasks note too.
    """
    verdict.taken, verdict.seconds = 0, 0.0
    for kind in (verdict.lost, verdict.twice, verdict.unwanted):
        kind.clear()
    for consumer in consumers:
        runs: dict[str, set[str]] = {}
        counts: Counter[str] = Counter()
        for note in notes(ledger, consumer.dag_id):
            fresh = set(note.mails) - runs.setdefault(note.run_id, set())
            counts.update(fresh)
            counts.update(mail for mail, often in Counter(note.mails).items() for _ in range(often - 1))
            runs[note.run_id] |= fresh
            if fresh & consumer.due:
                verdict.seconds = max(verdict.seconds, note.at - healed)
        verdict.taken += sum(1 for mail in counts if mail in consumer.due | consumer.free)
        verdict.lost += [f"{consumer.dag_id}: {mail}" for mail in sorted(consumer.due - set(counts))]
        verdict.lost += [f"{consumer.dag_id}: {mail} anew" for mail in sorted(consumer.anew) if counts[mail] == 1]
        verdict.twice += [
            f"{consumer.dag_id}: {mail}"
            for mail, often in sorted(counts.items())
            if often > 1 + (mail in consumer.again)
        ]
        verdict.unwanted += [
            f"{consumer.dag_id}: {mail}" for mail in sorted(set(counts) - consumer.due - consumer.free)
        ]
    return verdict


def row(verdict: Verdict) -> tuple[str, ...]:
    """Return a verdict as the cells of a table."""
    done, expected = verdict.actions
    return (
        str(verdict.seed),
        verdict.scenario,
        str(verdict.sent),
        str(verdict.taken),
        str(len(verdict.lost)),
        str(len(verdict.twice)),
        str(len(verdict.unwanted)),
        f"{done}/{expected}",
        f"{verdict.seconds:.1f}",
        verdict.remarks,
    )


def table(rows: Iterable[tuple[str, ...]], headings: tuple[str, ...] = HEADINGS) -> str:
    """Return rows as a Markdown table with aligned columns."""
    cells = [headings, *rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def now() -> float:
    """Return the clock that all processes of this machine share and that no scenario moves."""
    return time.monotonic()
