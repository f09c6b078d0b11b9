"""What a DAG author writes to say which mails are wanted, such as ``From.equals("billing@example.com")``.

Light to import, for DAG files are parsed over and over: no mail is read here, no connection is opened, and the library
for regular expressions is loaded only when one is used. ``docs/conditions.md`` describes it all with examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import Condition, checked_condition
from airflow_imap_provider.mail.condition_json import condition_from_json
from airflow_imap_provider.mail.date_condition import date_condition
from airflow_imap_provider.mail.header_block import check_header_name
from airflow_imap_provider.mail.text_condition import TextCondition

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = [
    "Body",
    "Cc",
    "Condition",
    "Conditions",
    "From",
    "Header",
    "Received",
    "ReplyTo",
    "Subject",
    "To",
]

TRIGGER_ON = ("all", "any", "none", "always")
"""When a list of conditions makes a mail one that triggers."""

VERSION = 1
"""Of the JSON that :meth:`Conditions.dumps` writes. It grows when a reader of the old one would decide wrongly."""


@dataclass(frozen=True)
class TextField:
    """A part of a mail that conditions can be made about.

    Of several texts (addresses, values of a repeated header) one that meets the condition is enough; the ``not_…``
    forms say that none does. Case is ignored unless ``case=True``.
    """

    field: str
    name: str = ""

    def equals(self, value: str, *, case: bool = False) -> Condition:
        """The text is this one. For addresses: the address, the display name, or ``Name <address>``."""
        return self._test("equals", value, case)

    def not_equals(self, value: str, *, case: bool = False) -> Condition:
        """No text is this one."""
        return ~self.equals(value, case=case)

    def contains(self, value: str, *, case: bool = False) -> Condition:
        """The text contains this one. For addresses: anywhere in ``Name <address>``."""
        return self._test("contains", value, case)

    def not_contains(self, value: str, *, case: bool = False) -> Condition:
        """No text contains this one."""
        return ~self.contains(value, case=case)

    def starts_with(self, value: str, *, case: bool = False) -> Condition:
        """The text starts with this one."""
        return self._test("starts_with", value, case)

    def ends_with(self, value: str, *, case: bool = False) -> Condition:
        """The text ends with this one. For addresses: ``ends_with("@example.com")`` is everybody there."""
        return self._test("ends_with", value, case)

    def one_of(self, values: Iterable[str], *, case: bool = False) -> Condition:
        """The text is one of these."""
        return self._test("one_of", values, case)

    def glob(self, pattern: str, *, case: bool = False) -> Condition:
        """The whole text is like the pattern: ``*`` any characters, ``?`` one, ``[abc]`` one of these."""
        return self._test("glob", pattern, case)

    def regex(self, pattern: str, *, case: bool = False) -> Condition:
        r"""The regular expression is found in the text. Its syntax is RE2's; ``^`` and ``$`` bind it to the ends.

        :raises SettingsError: if it is none.
        """
        return self._test("regex", pattern, case)

    def _test(self, op: str, value: object, case: bool) -> Condition:
        return TextCondition(self.field, op, value, case, self.name)  # type: ignore[arg-type]  # it checks what it is given


class Header(TextField):
    """Any header, by its name.

    :param name: as in the mail and without the colon, such as ``X-Priority``; case does not matter.
    :raises SettingsError: if it cannot be the name of a header.
    """

    def __init__(self, name: str) -> None:
        super().__init__("header", check_header_name(name))

    def exists(self) -> Condition:
        """The mail has such a header."""
        return TextCondition("header", "exists", name=self.name)


class DateField:
    """When the server received the mail (IMAP's INTERNALDATE).

    Each takes a date (a day in UTC), a datetime (in UTC if it has no time zone), or either as an ISO 8601 text.
    """

    def before(self, value: date | str) -> Condition:
        """Before the moment, or before the day."""
        return date_condition("before", value)

    def after(self, value: date | str) -> Condition:
        """After the moment, or after the end of the day."""
        return date_condition("after", value)

    def at_or_before(self, value: date | str) -> Condition:
        """At the moment or before, or on the day or before."""
        return date_condition("at_or_before", value)

    def at_or_after(self, value: date | str) -> Condition:
        """At the moment or after, or on the day or after."""
        return date_condition("at_or_after", value)

    def on(self, value: date | str) -> Condition:
        """On the day; that of a datetime is the day in its own time zone."""
        return date_condition("on", value)

    def equals(self, value: date | str) -> Condition:
        """Within the second of the moment, or on the day."""
        return date_condition("equals", value)

    def not_equals(self, value: date | str) -> Condition:
        """Not within the second, or not on the day."""
        return ~self.equals(value)


From = TextField("from")
To = TextField("to")
Cc = TextField("cc")
ReplyTo = TextField("reply_to")
Subject = TextField("subject")
Body = TextField("body")
Received = DateField()


@dataclass(frozen=True, init=False, repr=False)
class Conditions:
    """A list of conditions and what must be true of them for a mail to trigger.

    ``all``: every one holds. ``any``: at least one holds. ``none``: none holds. ``always``: whatever holds.
    An empty list counts as one condition that every mail meets.

    :param conditions: a list of conditions, or a single one.
    :param trigger_on: ``all``, ``any``, ``none`` or ``always``.
    :raises SettingsError: for anything else, and for an empty list with ``none``, which no mail could meet.
    """

    conditions: tuple[Condition, ...]
    trigger_on: str

    def __init__(self, conditions: Iterable[Condition] | Condition = (), trigger_on: str = "all") -> None:
        if isinstance(conditions, Condition):
            conditions = (conditions,)
        if isinstance(conditions, (str, bytes, dict)) or not isinstance(conditions, Iterable):
            checked_condition(conditions)
        checked = tuple(checked_condition(condition) for condition in conditions)
        if trigger_on not in TRIGGER_ON:
            raise SettingsError(
                f"trigger_on is {trigger_on!r:.80}", stage="settings", remedy=f"Choose one of {', '.join(TRIGGER_ON)}."
            )
        if not checked and trigger_on == "none":
            raise SettingsError(
                "trigger_on='none' without conditions can never trigger",
                stage="settings",
                remedy="Give conditions, or leave trigger_on out so that every mail triggers.",
            )
        object.__setattr__(self, "conditions", checked)
        object.__setattr__(self, "trigger_on", trigger_on)

    @property
    def needs_text(self) -> bool:
        """Whether the text of a mail must be fetched to decide."""
        return any(condition.needs_text for condition in self.conditions)

    @property
    def headers(self) -> frozenset[str]:
        """The lower-case names of headers that must be fetched to decide, besides those that always are."""
        return frozenset[str]().union(*(condition.headers for condition in self.conditions))

    def outcome(self, mail: Mail) -> frozenset[str]:
        """Return what is true of a mail: a set of ``all``, ``any``, ``none``.

        All hold: ``all`` and ``any``. Some do: ``any``. None does: ``none``. It is never empty.
        """
        held = [condition.holds(mail) for condition in self.conditions]
        if all(held):
            return frozenset({"all", "any"})
        return frozenset({"any"} if any(held) else {"none"})

    def triggers(self, mail: Mail) -> bool:
        """Tell whether a mail triggers."""
        return self.trigger_on == "always" or self.trigger_on in self.outcome(mail)

    def dumps(self) -> str:
        """Return the conditions as canonical JSON: equal conditions give equal strings, in any process."""
        data = {
            "conditions": [condition.to_json() for condition in self.conditions],
            "trigger_on": self.trigger_on,
            "version": VERSION,
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> Conditions:
        """Return the conditions that :meth:`dumps` wrote.

        :raises SettingsError: for anything else.
        """
        try:
            data = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise SettingsError(
                f"the text {text[:80]!r} is not conditions in JSON ({error}).",
                stage="settings",
                remedy="Write conditions as Subject.contains('invoice'), in a list.",
            ) from None
        if not isinstance(data, dict) or set(data) != {"conditions", "trigger_on", "version"}:
            raise SettingsError("conditions are not what Conditions.dumps wrote", stage="settings")
        if data["version"] != VERSION or not isinstance(data["conditions"], list):
            raise SettingsError(
                f"conditions of version {data['version']!r:.20} cannot be read, only of version {VERSION}",
                stage="settings",
                remedy="They were written by another version of this package.",
            )
        return cls([condition_from_json(item) for item in data["conditions"]], data["trigger_on"])

    def __repr__(self) -> str:
        return f"Conditions({list(self.conditions)!r}, trigger_on={self.trigger_on!r})"
