"""What became of each mail: found out from Airflow and the mailbox, judged, and shown as a table.

The source is what the DAG's tasks returned, not what the trigger says: a mail counts as taken when a task has it.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scripts.airflow_api import AirflowApi
from scripts.demo.letters import Letter
from scripts.demo.mailbox import Mailbox

DAG = "example_imap4_trigger"
ASSET = "invoices"
TAKING = "emails"
READING = "rows"
FINISHED = frozenset({"success", "failed"})
# Seconds between two lines of progress where lines cannot be overwritten, such as in a log.
PROGRESS_INTERVAL = 5.0


@dataclass
class Taking:
    """One time that a DAG run took a mail.

    :ivar started: when the task that took it began, seconds since the epoch.
    :ivar rows: what the DAG read from its attachment; None as long as that has not been done.
    """

    run: int
    started: float
    rows: list[dict[str, str]] | None
    state: str


@dataclass
class Findings:
    """All that is known at one moment."""

    takings: dict[str, list[Taking]] = field(default_factory=lambda: defaultdict(list))
    runs: list[str] = field(default_factory=list)
    busy: bool = False


class Investigation:
    """Asks Airflow again and again; what a finished run did is asked once only."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._finished: dict[str, list[tuple[str, Taking]]] = {}

    def findings(self) -> Findings:
        """Return what is known now."""
        found = Findings()
        for number, run in enumerate(self._api.runs(DAG), start=1):
            run_id = run["dag_run_id"]
            found.runs.append(run_id)
            over = run["state"] in FINISHED
            found.busy |= not over
            takings = self._finished.get(run_id) or self._takings(run_id, number)
            if over:
                self._finished[run_id] = takings
            for message_id, taking in takings:
                found.takings[message_id].append(taking)
        return found

    def complaint(self) -> str:
        """Return why the trigger has no connection to the mailbox, empty if it has one."""
        entries = [value for key, value in self._api.asset_state(ASSET).items() if key.startswith("imap4:health:")]
        return "; ".join(entry["last_error"] for entry in entries if not entry["connected"])

    def _takings(self, run_id: str, number: int) -> list[tuple[str, Taking]]:
        emails = self._api.xcom(DAG, run_id, TAKING) or []
        if not emails:
            return []
        instances: dict[tuple[str, int], dict[str, Any]] = {
            (instance["task_id"], instance["map_index"]): instance for instance in self._api.task_instances(DAG, run_id)
        }
        started = datetime.fromisoformat(instances[TAKING, -1]["start_date"].replace("Z", "+00:00")).timestamp()
        takings = []
        for index, email in enumerate(emails):
            state = instances.get((READING, index), {}).get("state") or "waiting"
            rows = self._api.xcom(DAG, run_id, READING, map_index=index) if state == "success" else None
            takings.append((email["message_id"], Taking(number, started, rows, state)))
        return takings


@dataclass(frozen=True)
class Verdict:
    """What became of one mail.

    :ivar good: it is as it should be.
    :ivar final: waiting longer cannot make it better.
    """

    good: bool
    final: bool
    run: str
    outcome: str


def judge(letter: Letter, delivered: float, takings: list[Taking], *, read: bool) -> Verdict:
    """Compare what became of a mail with what should.

    :param delivered: when it was in the mailbox, seconds since the epoch.
    :param read: whether it is marked as read there.
    """
    runs = ", ".join(f"run {taking.run}" for taking in takings) or "–"
    if not letter.expected:
        if takings or read:
            return Verdict(False, True, runs, "TAKEN OR TOUCHED, though it does not match")
        return Verdict(True, False, runs, "does not match: left alone, unread")
    if not takings:
        return Verdict(False, False, runs, "not taken yet")
    if len(takings) > 1:
        return Verdict(False, True, runs, f"TAKEN {len(takings)} TIMES")
    [taking] = takings
    after = f"taken after {taking.started - delivered:.1f} s"
    if taking.state == "failed":
        return Verdict(False, True, runs, f"{after}, BUT READING ITS ATTACHMENT FAILED")
    if taking.rows is None:
        return Verdict(False, False, runs, f"{after}, attachment: {taking.state}")
    if taking.rows != list(letter.rows):
        return Verdict(False, True, runs, f"{after}, BUT OTHER ROWS WERE READ: {taking.rows}")
    if not read:
        return Verdict(False, False, runs, f"{after}, not marked as read yet")
    return Verdict(True, False, runs, f"{after}, {counted(len(letter.rows), 'CSV row')} read, marked as read")


def counted(number: int, noun: str) -> str:
    """Return the number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Table:
    """The table on the terminal: a row for each mail once its fate is known, and a line of progress below."""

    def __init__(self) -> None:
        self._shown: set[str] = set()
        self._terminal = sys.stdout.isatty()
        self._progress_at = 0.0
        self._row("mail", "DAG run", "outcome")
        self._row("-" * 26, "-" * 8, "-" * 52)

    def _row(self, mail: str, run: str, outcome: str) -> None:
        self._say(f"  {mail:<26}  {run:<8}  {outcome}")

    def _say(self, line: str) -> None:
        if self._terminal:
            sys.stdout.write("\r\x1b[K")
        print(line, flush=True)

    def show(self, letter: Letter, verdict: Verdict) -> None:
        """Show a mail's row, once."""
        if letter.message_id not in self._shown:
            self._shown.add(letter.message_id)
            self._row(letter.subject, verdict.run, verdict.outcome)

    def progress(self, text: str) -> None:
        """Say how it stands, over the last time's line, or now and then where lines cannot be overwritten."""
        if self._terminal:
            # A line that wraps could not be overwritten.
            sys.stdout.write(f"\r\x1b[K  … {text}"[: shutil.get_terminal_size().columns + 3])
            sys.stdout.flush()
        elif time.monotonic() - self._progress_at > PROGRESS_INTERVAL:
            self._progress_at = time.monotonic()
            print(f"  … {text}", flush=True)

    def end(self) -> None:
        """Take the line of progress away."""
        if self._terminal:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()


@dataclass
class Post:
    """The mails delivered so far, and what became of them."""

    mailbox: Mailbox
    investigation: Investigation
    letters: list[Letter] = field(default_factory=list)
    delivered: dict[str, float] = field(default_factory=dict)

    def deliver(self, letters: list[Letter]) -> None:
        """Put mails into the mailbox."""
        self.letters += letters
        self.delivered |= self.mailbox.deliver(letters)

    def verdicts(self) -> tuple[Findings, list[tuple[Letter, Verdict]]]:
        """Return what is known, and what became of each mail, in order of delivery."""
        found = self.investigation.findings()
        read = self.mailbox.seen()
        return found, [
            (
                letter,
                judge(
                    letter,
                    self.delivered[letter.message_id],
                    found.takings.get(letter.message_id, []),
                    read=letter.message_id in read,
                ),
            )
            for letter in self.letters
        ]
