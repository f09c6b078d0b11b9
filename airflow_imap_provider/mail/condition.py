"""Conditions as a tree of plain data: tests at its leaves, joined by and, or, not.

How a tree is written down is in ``condition_json``, what the leaves compare in the modules named ``…_condition``, and
what a DAG author writes in ``conditions``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_imap_provider.errors import SettingsError

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["DEPTH_LIMIT", "VALUES_SHOWN", "AllOf", "AnyOf", "Condition", "Not", "checked_condition", "shown"]

DEPTH_LIMIT = 50
"""Conditions within conditions. Python's JSON parser and our own functions call themselves for each."""


VALUES_SHOWN = 20
"""Values of a mail that an explanation shows of one condition: addresses, header values, names of attachments."""

SHOWN_LENGTH = 200
"""Characters of such a value. A body may have a quarter of a million."""


class Condition(ABC):
    """Something that a mail meets or does not meet. Join conditions with ``&``, ``|`` and ``~``.

    Conditions are data: they can be compared, hashed, pickled, printed and written as JSON.
    """

    @abstractmethod
    def holds(self, mail: Mail, now: datetime | None = None) -> bool:
        """Tell whether a mail meets the condition.

        :param now: the moment that ages are counted from; aware.
        :raises RuntimeError: if it needs the mail's text, which was not fetched, or the moment, which is not given.
        """

    @property
    def needs_text(self) -> bool:
        """Whether the text of a mail must be fetched to decide."""
        return False

    @property
    def needs_smime(self) -> bool:
        """Whether signatures must be checked to decide."""
        return False

    @property
    def headers(self) -> frozenset[str]:
        """The lower-case names of headers that must be fetched to decide, besides those that always are."""
        return frozenset()

    @property
    def servers(self) -> frozenset[str]:
        """The servers, in lower case, whose Authentication-Results are believed."""
        return frozenset()

    def values(self, mail: Mail) -> tuple[str, ...]:  # noqa: ARG002 - joined conditions look at none themselves
        """Return what the condition looks at in a mail, for people to read; each value is shortened."""
        return ()

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the condition as JSON objects; equal conditions give equal ones."""

    @staticmethod
    def from_json(value: object) -> Condition:
        """Return the condition that :meth:`to_json` gave.

        :raises SettingsError: for anything else.
        """
        from airflow_imap_provider.mail.condition_json import condition_from_json

        return condition_from_json(value)

    @property
    def depth(self) -> int:
        """How many conditions are one within the other."""
        return 1

    def __and__(self, other: Condition) -> Condition:
        return AllOf.of(self, checked_condition(other))

    def __or__(self, other: Condition) -> Condition:
        return AnyOf.of(self, checked_condition(other))

    def __rand__(self, other: object) -> Condition:
        return AllOf.of(checked_condition(other), self)

    def __ror__(self, other: object) -> Condition:
        return AnyOf.of(checked_condition(other), self)

    def __invert__(self) -> Condition:
        return Not(self)

    def __bool__(self) -> NoReturn:
        # "a and b" would silently be b.
        raise TypeError("a condition is neither true nor false: join conditions with & | ~ instead of and, or, not")


@dataclass(frozen=True)
class _Joined(Condition):
    """Two or more conditions joined; use :meth:`of`, which flattens."""

    conditions: tuple[Condition, ...]
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_depth", _checked_depth(1 + max(c.depth for c in self.conditions)))

    @classmethod
    def of(cls, *conditions: Condition) -> Condition:
        """Join conditions: those of the same kind become part of this one, and a single one stays what it is."""
        flat: list[Condition] = []
        for condition in conditions:
            flat += condition.conditions if isinstance(condition, cls) else [condition]
        return flat[0] if len(flat) == 1 else cls(tuple(flat))

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def needs_text(self) -> bool:
        return any(condition.needs_text for condition in self.conditions)

    @property
    def needs_smime(self) -> bool:
        return any(condition.needs_smime for condition in self.conditions)

    @property
    def headers(self) -> frozenset[str]:
        return frozenset[str]().union(*(condition.headers for condition in self.conditions))

    @property
    def servers(self) -> frozenset[str]:
        return frozenset[str]().union(*(condition.servers for condition in self.conditions))


class AllOf(_Joined):
    """Every one of the conditions holds."""

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:
        return all(condition.holds(mail, now) for condition in self.conditions)

    def to_json(self) -> dict[str, Any]:
        return {"all": [condition.to_json() for condition in self.conditions]}

    def __repr__(self) -> str:
        return "(" + " & ".join(map(repr, self.conditions)) + ")"


class AnyOf(_Joined):
    """At least one of the conditions holds."""

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:
        return any(condition.holds(mail, now) for condition in self.conditions)

    def to_json(self) -> dict[str, Any]:
        return {"any": [condition.to_json() for condition in self.conditions]}

    def __repr__(self) -> str:
        return "(" + " | ".join(map(repr, self.conditions)) + ")"


@dataclass(frozen=True, repr=False)
class Not(Condition):
    """The condition does not hold."""

    condition: Condition
    _depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_depth", _checked_depth(1 + self.condition.depth))

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:
        return not self.condition.holds(mail, now)

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def needs_text(self) -> bool:
        return self.condition.needs_text

    @property
    def needs_smime(self) -> bool:
        return self.condition.needs_smime

    @property
    def headers(self) -> frozenset[str]:
        return self.condition.headers

    @property
    def servers(self) -> frozenset[str]:
        return self.condition.servers

    def to_json(self) -> dict[str, Any]:
        return {"not": self.condition.to_json()}

    def __invert__(self) -> Condition:
        return self.condition

    def __repr__(self) -> str:
        return f"~{self.condition!r}"


def checked_condition(value: object) -> Condition:
    """Return the value if it is a condition.

    :raises SettingsError: if not, with an example of one.
    """
    if isinstance(value, Condition):
        return value
    if value is None:
        remedy = "Where every mail is wanted leave it out. A function that returns nothing gives None, too."
    elif isinstance(value, bool):
        remedy = "Signs such as == and in compare nothing of a mail: write Subject.equals('invoice')."
    elif callable(value):
        remedy = "Are brackets missing? Write Attachment.exists(), Signed() or Header('X-Priority').exists()."
    elif isinstance(value, Mapping):
        remedy = "Conditions written as JSON are read by Conditions.loads and Condition.from_json."
    else:
        remedy = "Write a condition such as Subject.contains('invoice')."
    raise SettingsError(f"{_quoted(value)} is not a condition", stage="settings", remedy=remedy)


def shown(value: str) -> str:
    """Return a value of a mail as an explanation shows it: on one line, shortened."""
    text = " ".join(value[: 2 * SHOWN_LENGTH].split())
    return text if len(text) <= SHOWN_LENGTH and len(value) <= 2 * SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"


def _checked_depth(depth: int) -> int:
    if depth > DEPTH_LIMIT:
        raise SettingsError(
            f"more than {DEPTH_LIMIT} conditions are one within the other",
            stage="settings",
            remedy="Use one_of, a regular expression, or fewer levels.",
        )
    return depth


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
