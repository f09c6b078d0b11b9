"""The leaves of a condition that compare numbers: the size of a mail, sizes and count of its attachments.

Sizes are bytes. Those of attachments are reckoned from what the server tells, see
:class:`~airflow_imap_provider.mail.message.Attachment`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import VALUES_SHOWN, Condition
from airflow_imap_provider.mail.template_condition import TemplateCondition
from airflow_imap_provider.mail.templates import templated

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["NUMBER_FIELDS", "NUMBER_OPS", "NumberCondition", "number_condition"]

NUMBER_FIELDS = {"attachment_count": "Attachment.count", "attachment_size": "Attachment.size", "size": "Size"}
"""The fields of tests of numbers as they are stored, and as a DAG author writes them."""

NUMBER_OPS = ("at_least", "at_most", "equals", "larger_than", "smaller_than")
"""What can be asked of a number."""

NUMBER_LIMIT = 2**53
"""The largest number: the largest that every reader of JSON keeps exactly. It is eight petabytes."""

_UNITS = {
    **dict.fromkeys(("", "b", "byte", "bytes"), 1),
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tb": 10**12,
    "tib": 2**40,
}
"""Bytes of each unit in which a size can be written."""

_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,3}))? ?([a-z]*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class NumberCondition(Condition):
    """A comparison of a number; made by :func:`number_condition`.

    :param field: one of :data:`NUMBER_FIELDS`.
    :param op: one of :data:`NUMBER_OPS`.
    :param value: bytes, or how many attachments.
    :param every: for ``attachment_size``, whether each attachment must compare, and not only one.
    """

    field: str
    op: str
    value: int
    every: bool = False

    @property
    def bounds(self) -> tuple[int, int | None]:
        """The smallest and the largest number meant; ``None`` is no bound."""
        if self.op == "at_least":
            return self.value, None
        if self.op == "larger_than":
            return self.value + 1, None
        if self.op == "at_most":
            return 0, self.value
        if self.op == "smaller_than":
            return 0, self.value - 1
        return self.value, self.value

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - no number has an age
        smallest, largest = self.bounds
        numbers = self._numbers(mail)
        compared = (smallest <= number and (largest is None or number <= largest) for number in numbers)
        return bool(numbers) and all(compared) if self.every else any(compared)

    def _numbers(self, mail: Mail) -> tuple[int, ...]:
        if self.field == "size":
            return (mail.size,)
        if self.field == "attachment_count":
            return (len(mail.attachments),)
        return tuple(each.size for each in mail.attachments)

    def values(self, mail: Mail) -> tuple[str, ...]:
        return tuple(str(number) for number in self._numbers(mail)[:VALUES_SHOWN])

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"field": self.field, "op": self.op, "value": self.value}
        if self.every:
            out["every"] = True
        return out

    def __repr__(self) -> str:
        who = "Attachment.every.size" if self.every else NUMBER_FIELDS[self.field]
        return f"{who}.{self.op}({self.value})"


def number_condition(field: str, op: str, value: object, *, every: object = False) -> Condition:
    """Return the condition that an operator and a number mean.

    :param field: one of :data:`NUMBER_FIELDS`.
    :param op: one of :data:`NUMBER_OPS`.
    :param value: a whole number that is not negative; for sizes also a text such as ``10 MB`` or ``1.5 MiB``.
    :raises SettingsError: for anything else.
    """
    call = f"{NUMBER_FIELDS[field]}.{op}"
    if templated(value):
        return TemplateCondition.of(
            call.replace("Attachment.", "Attachment.every.") if every else call,
            field=field,
            op=op,
            value=value,
            every=every,
        )
    number = value
    if isinstance(number, str) and field != "attachment_count":
        number = _bytes(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= NUMBER_LIMIT:
        remedy = "Give a whole number that is not negative."
        if field != "attachment_count":
            remedy = (
                "Give bytes, or a text such as '500 kB', '10 MB' (a million bytes each) or '1.5 MiB' (2**20 bytes)."
            )
        raise SettingsError(f"{call} cannot use {value!r:.80}", stage="settings", remedy=remedy)
    if op == "smaller_than" and number == 0:
        raise SettingsError(f"{call}(0) can never hold", stage="settings", remedy="Nothing is smaller than 0.")
    if not isinstance(every, bool):
        raise SettingsError(f"{call}: every is True or False, not {every!r:.80}", stage="settings")
    return NumberCondition(field, op, int(number), every)


def _bytes(text: str) -> int | None:
    written = _SIZE.fullmatch(text.strip())
    if written is None or (unit := _UNITS.get(written[3].lower())) is None:
        return None
    fraction = written[2] or ""
    return int(written[1]) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
