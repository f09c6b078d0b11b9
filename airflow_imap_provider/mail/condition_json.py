"""Conditions from JSON objects, strictly: what is unknown is an error and never ignored.

A condition that was stored by a newer version may have fields or operators that this version does not know. Deciding
without them could take mails that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import DEPTH_LIMIT, AllOf, AnyOf, Condition
from airflow_imap_provider.mail.date_condition import (
    AGE_OPS,
    DATE_FIELDS,
    DATE_OPS,
    age_condition,
    date_condition,
)
from airflow_imap_provider.mail.header_block import check_header_name
from airflow_imap_provider.mail.mark_condition import PROTECTIONS, ProtectionCondition, flag_condition
from airflow_imap_provider.mail.number_condition import NUMBER_FIELDS, NUMBER_OPS, number_condition
from airflow_imap_provider.mail.smime_condition import SignatureCondition
from airflow_imap_provider.mail.text_condition import ATTACHMENT_FIELDS, FIELDS, TEXT_OPS, TextCondition
from airflow_imap_provider.mail.trust_condition import authentication_condition, sender_condition

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
    field = _known(value["field"], (*FIELDS, *_OTHERS), "field")
    if field in _OTHERS:
        return _OTHERS[field](field, value)
    accepted = [name for name in TEXT_OPS if name != "exists" or field == "header"]
    op = _op(field, value, accepted)
    keys = ["field", "op", "name"] if field == "header" else ["field", "op"]
    if field in ATTACHMENT_FIELDS:
        keys.append("every")
    _only(value, keys if op == "exists" else [*keys, "value", "case"])
    name = check_header_name(value.get("name")) if field == "header" else ""
    return TextCondition(field, op, value.get("value"), value.get("case", False), name, value.get("every", False))


def _date(field: str, value: Mapping[str, Any]) -> Condition:
    _only(value, ("field", "op", "value"))
    op = _op(field, value, (*DATE_OPS, *AGE_OPS))
    return (age_condition if op in AGE_OPS else date_condition)(field, op, value.get("value"))


def _number(field: str, value: Mapping[str, Any]) -> Condition:
    _only(value, ("field", "op", "value", "every") if field == "attachment_size" else ("field", "op", "value"))
    return number_condition(field, _op(field, value, NUMBER_OPS), value.get("value"), every=value.get("every", False))


def _flag(field: str, value: Mapping[str, Any]) -> Condition:
    _only(value, ("field", "op", "value"))
    _op(field, value, ("has",))
    return flag_condition(value.get("value"))


def _protection(field: str, value: Mapping[str, Any]) -> Condition:
    op = _op(field, value, ("exists", "equals"))
    _only(value, ("field", "op") if op == "exists" else ("field", "op", "value"))
    by = "" if op == "exists" else _known(value.get("value"), ("pgp", "smime"), f"kind of {field}")
    return ProtectionCondition(field, by)


def _signature(field: str, value: Mapping[str, Any]) -> Condition:
    _only(value, ("field", "op", "value"))
    _op(field, value, ("equals",))
    return SignatureCondition(value.get("value"))  # type: ignore[arg-type]  # it checks what it is given


def _senders(field: str, value: Mapping[str, Any]) -> Condition:
    _only(value, ("field", "op", "value"))
    _op(field, value, ("one_of",))
    return sender_condition(value.get("value"))


def _authentication(field: str, value: Mapping[str, Any]) -> Condition:
    _only(value, ("field", "op", "value", "server", "method", "domain"))
    _op(field, value, ("equals",))
    return authentication_condition(
        value.get("server", ""), value.get("method", ""), value.get("value", ""), value.get("domain", "")
    )


_OTHERS: dict[str, Callable[[str, Mapping[str, Any]], Condition]] = {
    **dict.fromkeys(DATE_FIELDS, _date),
    **dict.fromkeys(NUMBER_FIELDS, _number),
    **dict.fromkeys(PROTECTIONS, _protection),
    "authentication": _authentication,
    "flags": _flag,
    "senders": _senders,
    "smime_signature": _signature,
}
"""The fields whose tests are not about text, and how such a test is read."""


def _op(field: str, value: Mapping[str, Any], accepted: Sequence[str]) -> str:
    return _known(value.get("op"), accepted, f"operator for {field}")


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
