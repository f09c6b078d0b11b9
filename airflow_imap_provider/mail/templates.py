"""Which texts are Jinja templates. Rendering them is up to Airflow's tasks; here nothing is rendered."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MARKS", "templated", "templates"]

MARKS = ("{{", "{%")
"""With which Jinja's expressions and statements begin."""


def templated(*values: object) -> bool:
    """Tell whether one of the values is a text with a template in it, or holds such a text."""
    return bool(templates(values))


def templates(value: object) -> list[str]:
    """Return the texts with a template in them: the value itself, or those within lists and mappings."""
    if isinstance(value, str):
        return [value] if any(mark in value for mark in MARKS) else []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for each in value for text in templates(each)]
    return []
