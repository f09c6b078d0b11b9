"""The leaf of a condition that compares when a mail was received with a day or a moment.

Every operator means a span of time; days are days in UTC. INTERNALDATE, from which it comes, has whole seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import AllOf, Condition

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["DATE_OPS", "DateCondition", "date_condition"]

DATE_OPS = ("after", "at_or_after", "at_or_before", "before", "equals", "on")
"""What can be asked of a date."""

_WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d(?P<time>[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{3}|\.\d{6})?)?"
    r"(?:(?P<utc>[Zz])|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?",
    re.ASCII,
)
"""The texts of ISO 8601 that are read. Each version of Python takes others: a DAG must mean the same in all of them."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_INSTANT = timedelta(microseconds=1)
_END = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, repr=False)
class DateCondition(Condition):
    """A comparison of the date received; made by :func:`date_condition`.

    :param op: one of :data:`DATE_OPS`.
    :param value: a day, or a moment in UTC. ``on`` has a day and ``equals`` a moment.
    """

    op: str
    value: date

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """The moments meant: from the first on, and before the second; ``None`` is no bound."""
        if isinstance(self.value, datetime):
            first = self.value
            behind = _later(first, _SECOND if self.op == "equals" else _INSTANT)
        else:
            first = datetime.combine(self.value, time(), timezone.utc)
            behind = _later(first, _DAY)
        if self.op == "before":
            return None, first
        if self.op == "at_or_before":
            return None, behind
        if self.op == "at_or_after":
            return first, None
        if self.op == "after":
            return behind, None
        return first, behind

    def holds(self, mail: Mail) -> bool:
        since, until = self.span
        return (since is None or mail.received >= since) and (until is None or mail.received < until)

    @property
    def needs_text(self) -> bool:
        return False

    @property
    def headers(self) -> frozenset[str]:
        return frozenset()

    def to_json(self) -> dict[str, Any]:
        return {"field": "received", "op": self.op, "value": self.value.isoformat()}

    def __repr__(self) -> str:
        return f"Received.{self.op}({self.value.isoformat()!r})"


def date_condition(op: str, value: object) -> Condition:
    """Return the condition that an operator and a value mean.

    :param op: one of :data:`DATE_OPS`.
    :param value: a date, a datetime, or either as an ISO 8601 text. A datetime without time zone is in UTC.
    :raises SettingsError: for anything else.
    """
    given = _read(op, value)
    if not isinstance(given, datetime):
        return DateCondition("on" if op == "equals" else op, given)
    if op == "equals":
        return DateCondition(op, _utc(given).replace(microsecond=0))
    if op != "on":
        return DateCondition(op, _utc(given))
    # The day of a moment is the day in the moment's own time zone, which may have 23 or 25 hours.
    midnight = datetime.combine(given.date(), time(), given.tzinfo)
    if midnight == datetime.combine(given.date(), time(), timezone.utc):
        return DateCondition(op, date(given.year, given.month, given.day))
    next_midnight = datetime.combine(given.date() + _DAY, time(), given.tzinfo)
    return AllOf.of(DateCondition("at_or_after", _utc(midnight)), DateCondition("before", _utc(next_midnight)))


def _read(op: str, value: object) -> date:
    """Return a day or an aware moment within the years in which both have a neighbour."""
    given = value
    try:
        if isinstance(given, str):
            given = _read_text(given)
        if isinstance(given, date) and date.min.year < given.year < date.max.year:
            if not isinstance(given, datetime):
                return date(given.year, given.month, given.day)
            return given if given.utcoffset() is not None else given.replace(tzinfo=timezone.utc)
    except ValueError:
        given = None
    raise SettingsError(
        f"Received.{op} cannot use {value!r:.80}",
        stage="settings",
        remedy="Give a date, a datetime, or a text such as '2026-01-31' or '2026-01-31T12:00:00+01:00'.",
    )


def _read_text(text: str) -> date | None:
    written = _WRITTEN.fullmatch(text)
    if written is None:
        return None
    if not written["time"]:
        return date.fromisoformat(text)
    # Python 3.10 does not know the Z of ISO 8601.
    return datetime.fromisoformat(f"{text[:-1]}+00:00" if written["utc"] else text)


def _utc(moment: datetime) -> datetime:
    """Return the moment in UTC, of the plain class: Airflow hands out pendulum's, which prints otherwise."""
    utc = moment.astimezone(timezone.utc)
    return datetime(
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=timezone.utc
    )


def _later(moment: datetime, by: timedelta) -> datetime | None:
    return moment + by if moment <= _END - by else None
