"""The arguments of the Email Trigger and the sensor, checked when a DAG file is parsed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mail.payload import STYLES
from airflow_imap_provider.mail.templates import templates

__all__ = [
    "UnusableTriggerError",
    "as_conditions",
    "as_name",
    "as_number",
    "as_style",
    "as_switch",
    "no_templates",
    "no_unknown",
    "survivable",
]


_OTHER_WORDS = {"actions": "on_match", "conn_id": "imap4_conn_id", "mailbox": "folder", "mail_folder": "folder"}
"""What people from elsewhere call an argument."""


STORED_ELSEWHERE = (
    "Install the same version of this package in the DAG processor and in the triggerer: another one has stored this "
    "trigger."
)

LEAVE_OUT = "Leave it out, or take one of these."


class UnusableTriggerError(SettingsError, TypeError):
    """A trigger cannot be made of these arguments.

    A TypeError as well: that is the one exception of a trigger's constructor that Airflow's triggerer survives. It logs
    "Trigger failed to inflate" with this error and goes on with the others; any other exception ends the triggerer and
    all triggers in it (``TriggerRunner.create_triggers``, Airflow 3.3.2).
    """


@contextmanager
def survivable() -> Iterator[None]:
    """Turn errors about arguments into ones that do not end a triggerer."""
    try:
        yield
    except SettingsError as error:
        raise UnusableTriggerError(error.problem, stage=error.stage, reply=error.reply, remedy=error.remedy) from None


def no_unknown(unknown: Iterable[str], known: Sequence[str], of: str, *, stored: bool) -> None:
    """Refuse arguments that nobody knows: a misspelt filter would let every mail through.

    :param stored: whether they are those of a stored trigger, and not of a DAG file.
    :raises SettingsError: for the first one, with the one that may be meant.
    """
    for name in unknown:
        guess = _OTHER_WORDS.get(name, "")
        meant = [guess] if guess in known else difflib.get_close_matches(name, known, n=1)
        raise SettingsError(
            f"{of} has no argument {name!r}; accepted are {', '.join(known)}.",
            stage="settings",
            remedy=STORED_ELSEWHERE if stored else f"Did you mean {meant[0]!r}?" if meant else LEAVE_OUT,
        )


def no_templates(given: Mapping[str, object]) -> None:
    """Refuse templates in what Airflow does not render.

    :param given: values by the names of their arguments.
    :raises SettingsError: for the first one.
    """
    for name, value in given.items():
        if found := templates(value):
            raise SettingsError(
                f"{name} has the template {found[0]!r:.200}, and Airflow renders nothing in a trigger.",
                stage="settings",
                remedy="Give the value itself, such as os.environ['BUCKET'] where the DAG file is parsed, or do it in "
                "a task, whose operator renders templates. Braces that a mail has are written as "
                "Subject.regex(r'\\{\\{').",
            )


def as_conditions(conditions: Sequence[Condition] | Condition | Conditions | str, trigger_on: str) -> Conditions:
    """Return conditions from whatever a DAG author or Airflow's deserialization gives.

    :raises SettingsError: for what are none, and for two different ``trigger_on``.
    """
    if isinstance(conditions, str):
        conditions = Conditions.loads(conditions)
    if not isinstance(conditions, Conditions):
        return Conditions(conditions, trigger_on=trigger_on)
    if trigger_on not in ("all", conditions.trigger_on):
        raise SettingsError(
            f"trigger_on={trigger_on!r}, but these conditions have trigger_on={conditions.trigger_on!r} already.",
            stage="settings",
            remedy="Say it once: in Conditions(..., trigger_on=...), or beside a plain list.",
        )
    return conditions


def as_style(payload: str) -> str:
    """Return the style of payloads.

    :raises SettingsError: if there is no such style.
    """
    if payload not in STYLES:
        raise SettingsError(f"payload={payload!r}; accepted are {' and '.join(map(repr, STYLES))}.", stage="settings")
    return payload


def as_name(parameter: str, value: object) -> str:
    """Return a name.

    :raises SettingsError: if it is none.
    """
    if not isinstance(value, str) or not value.strip() or any(ord(character) < 32 for character in value):
        hint = " Add one AssetWatcher per folder." if parameter == "folder" and isinstance(value, (list, tuple)) else ""
        raise SettingsError(f"{parameter}={value!r}; a name (text, not empty) is accepted.{hint}", stage="settings")
    return value


def as_number(parameter: str, value: object, bounds: tuple[float, float]) -> float:
    """Return a number within bounds.

    :raises SettingsError: if it is none, or beyond them.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not bounds[0] <= value <= bounds[1]:
        raise SettingsError(
            f"{parameter}={value!r}; a number from {bounds[0]:g} to {bounds[1]:g} is accepted.", stage="settings"
        )
    return float(value)


def as_switch(parameter: str, value: object) -> bool:
    """Return True or False: as truth goes in Python, the text "False" would be true.

    :raises SettingsError: if it is neither.
    """
    if not isinstance(value, bool):
        raise SettingsError(f"{parameter}={value!r}; True or False is accepted.", stage="settings")
    return value
