"""What a Test found, stage by stage: as one line for Airflow's toast, as a page for logs and terminals, and as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_imap_provider.errors import ImapError

__all__ = ["LINE_LIMIT", "Fact", "Report", "Step", "brief", "failed", "nameless"]

Fact = str | int | float | bool | tuple[str, ...]

LINE_LIMIT = 199
"""Characters of the line: Airflow's toast shows about two hundred, for five seconds."""
REMEDY_LIMIT = 145
"""Characters of the remedy in the line, whole sentences: what is left says where, and begins to say why."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_LABELS = {
    "has": "capabilities",
    "lacks": "not there",
    "offered": "logins offered",
    "certificate_pin": "pin of certificate",
    "key_pin": "pin of its key",
    "uidvalidity": "UIDVALIDITY",
    "idle": "IDLE",
}
_INDENT = " " * 4


@dataclass(frozen=True)
class Step:
    """One stage of a Test.

    :param stage: as errors name it.
    :param seconds: how long it took.
    :param ok: whether it went well.
    :param facts: what was found, by name; plain values.
    :param warnings: what works and should not stay like this, a sentence each.
    :param problem: what went wrong; empty if nothing did.
    :param reply: the other side's own words about that.
    :param remedy: what to change.
    """

    stage: str
    seconds: float
    ok: bool = True
    facts: Mapping[str, Fact] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problem: str = ""
    reply: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """The outcome of a Test.

    :param name: the connection's id.
    :param steps: the stages in the order in which they ran; the one that failed is the last.
    """

    name: str
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether the connection works."""
        return self.failure is None

    @property
    def failure(self) -> Step | None:
        """The step that failed."""
        return next((step for step in self.steps if not step.ok), None)

    @property
    def seconds(self) -> float:
        """How long it took altogether."""
        return sum(step.seconds for step in self.steps)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all steps."""
        return tuple(warning for step in self.steps for warning in step.warnings)

    def fact(self, name: str) -> Fact | None:
        """The latest fact of this name."""
        return next((step.facts[name] for step in reversed(self.steps) if name in step.facts), None)

    def line(self) -> str:
        """Less than two hundred characters: OK, or stage, reason and remedy. Never has the connection's id."""
        step = self.failure
        if step is None:
            return _squeezed(self._success(), LINE_LIMIT)
        remedy = brief(step.remedy)
        reason = f"{step.problem.rstrip('.')} ({step.reply.rstrip('.')})." if step.reply else step.problem
        room = LINE_LIMIT - len(step.stage) - len(remedy) - 3
        return f"{step.stage}: {_squeezed(reason, room)} {remedy}"

    def text(self) -> str:
        """The whole report, a line for each stage and fact."""
        step = self.failure
        verdict = "OK" if step is None else f"FAILED at {step.stage}"
        width = max(len(step.stage) for step in self.steps)
        names = max([len(_label(name)) for step in self.steps for name in step.facts] + [len("remedy")])
        lines = [f"Test of the IMAP4 connection {self.name}: {verdict} ({self.seconds:.3f} s)"]
        for one in self.steps:
            lines.append(f"  {one.stage:<{width}}  {one.seconds:7.3f} s  {'ok' if one.ok else 'FAILED'}")
            lines += [f"{_INDENT}  {_label(name):<{names}}  {_shown(value)}" for name, value in one.facts.items()]
            lines += [f"{_INDENT}  {'warning':<{names}}  {warning}" for warning in one.warnings]
            lines += [
                f"{_INDENT}  {label:<{names}}  {words}"
                for label, words in (("problem", one.problem), ("answer", one.reply), ("remedy", one.remedy))
                if words
            ]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-safe data; ``failure`` is the stage that failed, or ``None``."""
        return {
            "connection": self.name,
            "ok": self.ok,
            "failure": self.failure.stage if self.failure else None,
            "seconds": round(self.seconds, 6),
            "line": self.line(),
            "warnings": list(self.warnings),
            "steps": [
                {
                    "stage": step.stage,
                    "ok": step.ok,
                    "seconds": round(step.seconds, 6),
                    "facts": {
                        name: list(value) if isinstance(value, tuple) else value for name, value in step.facts.items()
                    },
                    "warnings": list(step.warnings),
                    "problem": step.problem,
                    "reply": step.reply,
                    "remedy": step.remedy,
                }
                for step in self.steps
            ],
        }

    def _success(self) -> str:
        warnings = len(self.warnings)
        idle = {True: "IDLE works", False: "IDLE is refused (polling)", None: "no IDLE (polling)"}
        parts = [
            f"OK in {self.seconds:.1f} s: logged in by {self.fact('mechanism') or 'PREAUTH'}, "
            f"{self.fact('version') or 'not encrypted'}",
            f"{self.fact('folder')} has {self.fact('mails')} mails",
            idle[None if (found := self.fact("idle")) is None else bool(found)],
        ]
        if warnings:
            parts.append(f"{warnings} warning{'s' if warnings > 1 else ''} in the log")
        return f"{'; '.join(parts)}."


def failed(error: ImapError, conn_id: str, seconds: float = 0.0, facts: Mapping[str, Fact] | None = None) -> Step:
    """The step in which an error came up.

    :param conn_id: taken out of its words: the Test button makes a connection with an id that nobody knows.
    """
    problem = nameless(error.problem, conn_id)
    return Step(error.stage, seconds, False, facts or {}, (), problem, nameless(error.reply, conn_id), error.remedy)


def nameless(words: str, conn_id: str) -> str:
    """The words with "this connection" instead of its id."""
    for form in (f"the connection {conn_id!r}", f"connection {conn_id!r}"):
        words = words.replace(form, "this connection")
    return words


def brief(remedy: str) -> str:
    """As many whole sentences of a remedy, from its beginning, as the line has room for; at least the first."""
    first, *more = _SENTENCE_END.split(remedy)
    for sentence in more:
        if len(first) + 1 + len(sentence) > REMEDY_LIMIT:
            break
        first = f"{first} {sentence}"
    return _squeezed(first, REMEDY_LIMIT)


def _squeezed(text: str, room: int) -> str:
    """The text without its middle, if it is too long: the beginning says what, the end often says why."""
    if len(text) <= room:
        return text
    tail = room // 3
    return f"{text[: room - tail - 1]}…{text[len(text) - tail :]}"


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _shown(value: Fact) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
