"""What this version declares and cannot carry out yet.

The field table says it, field by field and choice by choice. Settings that ask for such a thing are refused before
the first packet, so that nobody believes in a protection or a way that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from airflow_imap_provider import __version__
from airflow_imap_provider.connection.field import Field
from airflow_imap_provider.connection.fields import FIELDS
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import NotAvailableError

__all__ = ["require_available"]

_UNTOUCHED = Settings(conn_id="", host="")


def require_available(settings: Settings, fields: Iterable[Field] = FIELDS) -> None:
    """Refuse settings that ask for something which this version cannot carry out yet.

    :param fields: the table; another one only in tests.
    :raises NotAvailableError: for the first such field, in the order of the form; names it, its value (never a
        secret's) and what is available instead.
    """
    for field in fields:
        if not field.path:
            continue
        asked = attrgetter(field.path)(settings)
        if asked != attrgetter(field.path)(_UNTOUCHED) and not field.can(asked):
            raise _refusal(settings, field, asked)


def _refusal(settings: Settings, field: Field, asked: object) -> NotAvailableError:
    choice = field.choice(asked) if isinstance(asked, str) else None
    value = f" {choice.value!r} ({choice.label})" if choice else ""
    available = [choice.value for choice in field.choices if choice.available]
    return NotAvailableError(
        f"connection {settings.conn_id!r}, tab {field.tab}: {field.name}{value} is not available in version "
        f"{__version__} yet.",
        stage="settings",
        remedy=f"Choose {' or '.join(available)}." if available else "Leave it empty.",
    )
