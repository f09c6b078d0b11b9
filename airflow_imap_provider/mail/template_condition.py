"""A test whose value is a Jinja template: what it says is known only when a task has rendered it.

Texts may hold anything, so a test of texts takes a template like any other. Dates, ages, numbers, flags and lists of
senders cannot be read before they are rendered: such a test stands in its place until then, in the form in which it is
stored. Who renders is not decided here; who does not must call :func:`check_rendered`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import AllOf, AnyOf, Condition, Not
from airflow_imap_provider.mail.matching import compile_regex

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["TemplateCondition", "check_rendered"]


@dataclass(frozen=True, repr=False)
class TemplateCondition(Condition):
    """A test that can be made only when its template is rendered.

    :param written: the test as canonical JSON.
    :param call: the test as Python writes it.
    """

    written: str
    call: str

    @classmethod
    def of(cls, call: str, **test: Any) -> TemplateCondition:
        """Return it, of the test's JSON form; what is empty or false is left out, as the tests themselves do.

        :param call: such as ``Received.after``.
        """
        data = {name: value for name, value in test.items() if value not in ("", False, None)}
        return cls(json.dumps(data, sort_keys=True), f"{call}({test.get('value')!r})")

    def holds(self, mail: Mail, now: datetime | None = None) -> NoReturn:  # noqa: ARG002 - it looks at nothing
        raise RuntimeError(f"{self.call} is asked before its template was rendered")

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.written)
        return data

    def __repr__(self) -> str:
        return self.call


def check_rendered(conditions: Iterable[Condition]) -> None:
    """Find what nobody will render.

    :raises SettingsError: for a test that has a template where none can be compared.
    """
    for condition in conditions:
        if isinstance(condition, TemplateCondition):
            raise SettingsError(
                f"{condition!r:.200} has a template, which is not rendered here",
                stage="settings",
                remedy="Give the value itself; only EmailSensor renders templates in conditions.",
            )
        if getattr(condition, "op", "") == "regex":
            compile_regex(str(getattr(condition, "value", "")), case=True)  # that of a template was not looked at
        if isinstance(condition, Not):
            check_rendered([condition.condition])
        elif isinstance(condition, (AllOf, AnyOf)):
            check_rendered(condition.conditions)
