"""What a DAG author writes to say which mails are wanted, such as ``From.equals("billing@example.com")``.

Light to import, for DAG files are parsed over and over: no mail is read here, no connection is opened, and the library
for regular expressions is loaded only when one is used. ``docs/conditions.md`` describes it all with examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import Condition, checked_condition
from airflow_imap_provider.mail.condition_fields import (
    AllowedSenders,
    Attachment,
    AuthenticationResults,
    Body,
    Cc,
    Encrypted,
    Flags,
    From,
    Header,
    Received,
    ReplyTo,
    Sent,
    Signed,
    Size,
    SmimeSignature,
    SmimeSigner,
    Subject,
    To,
)
from airflow_imap_provider.mail.condition_json import condition_from_json

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = [
    "AllowedSenders",
    "Attachment",
    "AuthenticationResults",
    "Body",
    "Cc",
    "Condition",
    "Conditions",
    "Encrypted",
    "Flags",
    "From",
    "Header",
    "Received",
    "ReplyTo",
    "Sent",
    "Signed",
    "Size",
    "SmimeSignature",
    "SmimeSigner",
    "Subject",
    "To",
]

TRIGGER_ON = ("all", "any", "none", "always")
"""When a list of conditions makes a mail one that triggers."""

VERSION = 1
"""Of the JSON that :meth:`Conditions.dumps` writes. It grows when a reader of the old one would decide wrongly."""


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
    def needs_smime(self) -> bool:
        """Whether signatures must be checked to decide."""
        return any(condition.needs_smime for condition in self.conditions)

    @property
    def headers(self) -> frozenset[str]:
        """The lower-case names of headers that must be fetched to decide, besides those that always are."""
        return frozenset[str]().union(*(condition.headers for condition in self.conditions))

    @property
    def servers(self) -> frozenset[str]:
        """The servers, in lower case, whose Authentication-Results are believed."""
        return frozenset[str]().union(*(condition.servers for condition in self.conditions))

    def outcome(self, mail: Mail, now: datetime | None = None) -> frozenset[str]:
        """Return what is true of a mail: a set of ``all``, ``any``, ``none``.

        All hold: ``all`` and ``any``. Some do: ``any``. None does: ``none``. It is never empty.

        :param now: the moment that ages are counted from; aware. Needed only where there is a condition on an age.
        """
        held = [condition.holds(mail, now) for condition in self.conditions]
        if all(held):
            return frozenset({"all", "any"})
        return frozenset({"any"} if any(held) else {"none"})

    def triggers(self, mail: Mail, now: datetime | None = None) -> bool:
        """Tell whether a mail triggers; for ``now`` see :meth:`outcome`."""
        return self.decides(self.outcome(mail, now))

    def decides(self, outcome: frozenset[str]) -> bool:
        """Tell whether a mail with this outcome triggers."""
        return self.trigger_on == "always" or self.trigger_on in outcome

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
