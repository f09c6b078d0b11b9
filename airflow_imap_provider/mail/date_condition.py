"""The leaves of a condition that compare when a mail was received or sent: with a day or a moment, or with its age.

Every operator means a span of time; days are days in UTC. INTERNALDATE and Date, from which it comes, have whole
seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import AllOf, Condition
from airflow_imap_provider.mail.template_condition import TemplateCondition
from airflow_imap_provider.mail.templates import templated

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["AGE_OPS", "DATE_FIELDS", "DATE_OPS", "AgeCondition", "DateCondition", "age_condition", "date_condition"]

DATE_FIELDS = {"received": "Received", "sent": "Sent"}
"""The fields of tests of dates as they are stored, and as a DAG author writes them."""

DATE_OPS = ("after", "at_or_after", "at_or_before", "before", "equals", "on")
"""What can be asked of a date."""

AGE_OPS = ("newer_than", "older_than")
"""What can be asked of an age."""

AGE_LIMIT = timedelta(days=36_525)
"""The largest age: a hundred years. Mail is younger, and counting back from now stays within what datetime knows."""

_UNITS = {"weeks": 7 * 86_400, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
"""Seconds of each unit in which an age can be written."""

_AGE = re.compile(r"(\d{1,10}) ?([a-z]+)", re.ASCII | re.IGNORECASE)

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
    """A comparison of a date; made by :func:`date_condition`.

    :param op: one of :data:`DATE_OPS`.
    :param value: a day, or a moment in UTC. ``on`` has a day and ``equals`` a moment.
    :param field: one of :data:`DATE_FIELDS`.
    """

    op: str
    value: date
    field: str = "received"

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

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - a date is no age
        return _within(_moment(self.field, mail), self.span)

    def values(self, mail: Mail) -> tuple[str, ...]:
        return _values(self.field, mail)

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "op": self.op, "value": self.value.isoformat()}

    def __repr__(self) -> str:
        return f"{DATE_FIELDS[self.field]}.{self.op}({self.value.isoformat()!r})"


@dataclass(frozen=True, repr=False)
class AgeCondition(Condition):
    """A comparison of the time since a date; made by :func:`age_condition`.

    :param op: one of :data:`AGE_OPS`.
    :param value: the age, in whole seconds.
    :param field: one of :data:`DATE_FIELDS`.
    """

    op: str
    value: timedelta
    field: str = "received"

    def span(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """The moments meant: from the first on, and before the second; ``None`` is no bound.

        :param now: the moment from which ages are counted; aware.
        """
        moment = now.astimezone(timezone.utc) - self.value
        return (None, moment) if self.op == "older_than" else (moment, None)

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:
        if now is None:
            raise RuntimeError("a condition on the age of a mail is asked without saying what time it is")
        return _within(_moment(self.field, mail), self.span(now))

    def values(self, mail: Mail) -> tuple[str, ...]:
        return _values(self.field, mail)

    @property
    def _written(self) -> str:
        seconds = int(self.value.total_seconds())
        unit = next(unit for unit, length in _UNITS.items() if seconds % length == 0)
        count = seconds // _UNITS[unit]
        return f"{count} {unit if count != 1 else unit[:-1]}"

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "op": self.op, "value": self._written}

    def __repr__(self) -> str:
        return f"{DATE_FIELDS[self.field]}.{self.op}({self._written!r})"


def age_condition(field: str, op: str, value: object) -> Condition:
    """Return the condition that an operator and an age mean.

    :param field: one of :data:`DATE_FIELDS`.
    :param op: one of :data:`AGE_OPS`.
    :param value: a timedelta, or a text such as ``2 days``; units are seconds, minutes, hours, days and weeks.
    :raises SettingsError: for anything else, for nothing, and for more than a hundred years.
    """
    if templated(value):
        return TemplateCondition.of(f"{DATE_FIELDS[field]}.{op}", field=field, op=op, value=value)
    age = value
    if isinstance(age, str) and (written := _AGE.fullmatch(age.strip())):
        unit = written[2].lower()
        seconds = _UNITS.get(unit if unit.endswith("s") else f"{unit}s")
        age = timedelta(seconds=min(int(written[1]) * seconds, 10**10)) if seconds else None
    if not isinstance(age, timedelta) or not timedelta(seconds=1) <= age <= AGE_LIMIT:
        raise SettingsError(
            f"{DATE_FIELDS[field]}.{op} cannot use {value!r:.80}",
            stage="settings",
            remedy="Give a timedelta, or a text such as '90 minutes', '36 hours' or '2 days', of at most 100 years.",
        )
    return AgeCondition(op, timedelta(seconds=int(age.total_seconds())), field)


def _moment(field: str, mail: Mail) -> datetime | None:
    return mail.received if field == "received" else mail.date


def _within(moment: datetime | None, span: tuple[datetime | None, datetime | None]) -> bool:
    since, until = span
    return moment is not None and (since is None or moment >= since) and (until is None or moment < until)


def _values(field: str, mail: Mail) -> tuple[str, ...]:
    moment = _moment(field, mail)
    return (moment.isoformat(),) if moment is not None else ()


def date_condition(field: str, op: str, value: object) -> Condition:
    """Return the condition that an operator and a value mean.

    :param field: one of :data:`DATE_FIELDS`.
    :param op: one of :data:`DATE_OPS`.
    :param value: a date, a datetime, or either as an ISO 8601 text. A datetime without time zone is in UTC.
    :raises SettingsError: for anything else.
    """
    if templated(value):
        return TemplateCondition.of(f"{DATE_FIELDS[field]}.{op}", field=field, op=op, value=value)
    given = _read(field, op, value)
    if not isinstance(given, datetime):
        return DateCondition("on" if op == "equals" else op, given, field)
    if op == "equals":
        return DateCondition(op, _utc(given).replace(microsecond=0), field)
    if op != "on":
        return DateCondition(op, _utc(given), field)
    # The day of a moment is the day in the moment's own time zone, which may have 23 or 25 hours.
    midnight = datetime.combine(given.date(), time(), given.tzinfo)
    if midnight == datetime.combine(given.date(), time(), timezone.utc):
        return DateCondition(op, date(given.year, given.month, given.day), field)
    next_midnight = datetime.combine(given.date() + _DAY, time(), given.tzinfo)
    return AllOf.of(
        DateCondition("at_or_after", _utc(midnight), field), DateCondition("before", _utc(next_midnight), field)
    )


def _read(field: str, op: str, value: object) -> date:
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
        f"{DATE_FIELDS[field]}.{op} cannot use {value!r:.80}",
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
