"""Conditions as a tree of plain data: tests at its leaves, joined by and, or, not.

How a tree is written down is in ``condition_json``, what the leaves compare in ``text_condition`` and
``date_condition``, and what a DAG author writes in ``conditions``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_imap_provider.errors import SettingsError

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["DEPTH_LIMIT", "AllOf", "AnyOf", "Condition", "Not", "checked_condition"]

DEPTH_LIMIT = 50
"""Conditions within conditions. Python's JSON parser and our own functions call themselves for each."""


class Condition(ABC):
    """Something that a mail meets or does not meet. Join conditions with ``&``, ``|`` and ``~``.

    Conditions are data: they can be compared, hashed, pickled, printed and written as JSON.
    """

    @abstractmethod
    def holds(self, mail: Mail) -> bool:
        """Tell whether a mail meets the condition.

        :raises RuntimeError: if it needs the mail's text and that was not fetched.
        """

    @property
    @abstractmethod
    def needs_text(self) -> bool:
        """Whether the text of a mail must be fetched to decide."""

    @property
    @abstractmethod
    def headers(self) -> frozenset[str]:
        """The lower-case names of headers that must be fetched to decide, besides those that always are."""

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
    def headers(self) -> frozenset[str]:
        return frozenset[str]().union(*(condition.headers for condition in self.conditions))


class AllOf(_Joined):
    """Every one of the conditions holds."""

    def holds(self, mail: Mail) -> bool:
        return all(condition.holds(mail) for condition in self.conditions)

    def to_json(self) -> dict[str, Any]:
        return {"all": [condition.to_json() for condition in self.conditions]}

    def __repr__(self) -> str:
        return "(" + " & ".join(map(repr, self.conditions)) + ")"


class AnyOf(_Joined):
    """At least one of the conditions holds."""

    def holds(self, mail: Mail) -> bool:
        return any(condition.holds(mail) for condition in self.conditions)

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

    def holds(self, mail: Mail) -> bool:
        return not self.condition.holds(mail)

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def needs_text(self) -> bool:
        return self.condition.needs_text

    @property
    def headers(self) -> frozenset[str]:
        return self.condition.headers

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
    if isinstance(value, Mapping):
        remedy = "Conditions written as JSON are read by Conditions.loads and Condition.from_json."
    else:
        remedy = "Write a condition such as Subject.contains('invoice')."
    raise SettingsError(f"{_shown(value)} is not a condition", stage="settings", remedy=remedy)


def _checked_depth(depth: int) -> int:
    if depth > DEPTH_LIMIT:
        raise SettingsError(
            f"more than {DEPTH_LIMIT} conditions are one within the other",
            stage="settings",
            remedy="Use one_of, a regular expression, or fewer levels.",
        )
    return depth


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
