"""Conditions from JSON objects, strictly: what is unknown is an error and never ignored.

A condition that was stored by a newer version may have fields or operators that this version does not know. Deciding
without them could take mails that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import DEPTH_LIMIT, AllOf, AnyOf, Condition
from airflow_imap_provider.mail.date_condition import DATE_OPS, date_condition
from airflow_imap_provider.mail.header_block import check_header_name
from airflow_imap_provider.mail.text_condition import FIELDS, TEXT_OPS, TextCondition

__all__ = ["condition_from_json"]


def condition_from_json(value: object, depth: int = 1) -> Condition:
    """Return the condition that :meth:`Condition.to_json` gave.

    :param value: JSON objects as Python has them.
    :param depth: how deep this one is in others.
    :raises SettingsError: for anything else.
    """
    if not isinstance(value, Mapping):
        raise _error(f"a condition is a JSON object, not {type(value).__name__}")
    if depth > DEPTH_LIMIT:
        raise _error(f"more than {DEPTH_LIMIT} conditions are one within the other")
    kinds = [kind for kind in ("all", "any", "not", "field") if kind in value]
    if len(kinds) != 1:
        raise _error(f"a condition has one of the keys all, any, not, field; this one has {_listed(value)}")
    kind = kinds[0]
    if kind == "field":
        return _test(value)
    _only(value, (kind,))
    inner = value[kind]
    if kind == "not":
        return ~condition_from_json(inner, depth + 1)
    if not isinstance(inner, list) or not inner:
        raise _error(f"{kind!r} holds a list of conditions")
    conditions = [condition_from_json(item, depth + 1) for item in inner]
    return AllOf.of(*conditions) if kind == "all" else AnyOf.of(*conditions)


def _test(value: Mapping[str, Any]) -> Condition:
    field = _known(value["field"], (*FIELDS, "received"), "field")
    if field == "received":
        _only(value, ("field", "op", "value"))
        return date_condition(_known(value.get("op"), DATE_OPS, "operator for received"), value.get("value"))
    accepted = [name for name in TEXT_OPS if name != "exists" or field == "header"]
    op = _known(value.get("op"), accepted, f"operator for {field}")
    keys = ["field", "op", "name"] if field == "header" else ["field", "op"]
    _only(value, keys if op == "exists" else [*keys, "value", "case"])
    name = check_header_name(value.get("name")) if field == "header" else ""
    return TextCondition(field, op, value.get("value"), value.get("case", False), name)


def _known(value: object, accepted: Sequence[str], what: str) -> str:
    if isinstance(value, str) and value in accepted:
        return value
    raise _error(f"{value!r:.80} is no {what}: accepted are {', '.join(sorted(accepted))}")


def _only(value: Mapping[str, Any], accepted: Iterable[str]) -> None:
    if unknown := set(value) - set(accepted):
        raise _error(f"a condition with the unknown key {_listed(unknown)}")


def _listed(keys: Iterable[object]) -> str:
    return ", ".join(sorted(f"{key!r:.40}" for key in keys)) or "none"


def _error(problem: str) -> SettingsError:
    return SettingsError(
        problem,
        stage="settings",
        remedy="If a newer version of this package wrote these conditions, this one cannot read them.",
    )
