"""From an Airflow connection to settings, in tasks and in the triggerer's event loop."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_imap_provider.connection.fields import CONNECTION_TYPE
from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.refresh_tokens import VariableKeeper
from airflow_imap_provider.mailbox import executor

if TYPE_CHECKING:
    from airflow.sdk import Connection

__all__ = ["async_settings", "connection_settings"]


def connection_settings(conn_id: str) -> Settings:
    """Return the settings of a connection, in a task or on a worker.

    :raises SettingsError: if there is no such connection, or a field of it cannot be used.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except Exception as error:
        raise _not_found(conn_id, error) from error
    _check(conn_id, connection)
    return _parse(conn_id, connection, connection.extra_dejson)


async def async_settings(conn_id: str) -> Settings:
    """Return the settings of a connection, on the triggerer's event loop.

    :raises SettingsError: if there is no such connection, or a field of it cannot be used.
    """
    try:
        connection = await BaseHook.aget_connection(conn_id)
    except Exception as error:
        raise _not_found(conn_id, error) from error
    _check(conn_id, connection)
    try:
        # Reading the extra masks its secrets, which asks the supervisor: a blocking question before Airflow 3.3.2.
        if hasattr(connection, "aextra_dejson"):
            extra = await connection.aextra_dejson()
        else:
            extra = await executor.working(lambda: connection.extra_dejson)
    except Exception as error:
        raise _not_found(conn_id, error) from error
    # Keys and certificates are looked at, and the first time the library for that is imported: not on the event loop.
    return await executor.working(lambda: _parse(conn_id, connection, extra))


def _check(conn_id: str, connection: Connection) -> None:
    """Find what Airflow passes over: another type, and an extra that is no JSON, which it takes for an empty one."""
    if connection.conn_type not in (None, "", CONNECTION_TYPE):
        raise SettingsError(
            f"connection {conn_id!r} is of type {connection.conn_type}, not {CONNECTION_TYPE}.",
            stage="settings",
            remedy="Give the id of a connection of type IMAP4 (Admin → Connections).",
        )
    problem = ""
    try:
        json.loads((connection.extra or "").strip() or "{}")
    except json.JSONDecodeError as error:
        problem = f"it is no JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    except RecursionError:
        problem = "its brackets are nested too deep."
    if problem:
        # Not as the context of the parser's error, which holds the whole text.
        raise SettingsError(
            f"connection {conn_id!r}, extra: {problem}",
            stage="settings",
            remedy="Write the extra as one JSON object, or empty it.",
        )


def _parse(conn_id: str, connection: Connection, extra: dict[str, Any]) -> Settings:
    settings = parse(
        conn_id,
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=extra,
        schema=connection.schema,
    )
    return _keeping(settings) if settings.auth.method == "oauth-refresh-token" else settings


def _keeping(settings: Settings) -> Settings:
    """The settings with a place for the refresh tokens that the endpoint may give."""
    auth = settings.auth
    keeper = VariableKeeper(auth.oauth, auth.alias or auth.login)
    return replace(settings, auth=replace(auth, oauth=replace(auth.oauth, keeper=keeper)))


def _not_found(conn_id: str, error: Exception) -> SettingsError:
    # By its name: Airflow has a class of this name for tasks, and one for its own processes.
    if type(error).__name__ == "AirflowNotFoundException":
        # Airflow says so as well of one whose URI, JSON or encryption it cannot read.
        return SettingsError(
            f"there is no connection {conn_id!r}.",
            stage="settings",
            remedy="Add a connection of type IMAP4 with this id (Admin → Connections), or correct the id. If it is "
            "there, its URI or JSON cannot be parsed (a / in a password is written %2F), its port is no number, or the "
            "Fernet key is another one.",
        )
    return SettingsError(
        f"the connection {conn_id!r} cannot be read: {type(error).__name__}",
        stage="settings",
        reply=str(error).splitlines()[0] if str(error) else "",
        remedy="Check that Airflow's API and secrets backends can be reached. If they can, its URI or JSON cannot be "
        "parsed (a / in a password is written %2F), its port is no number, or the Fernet key is another one.",
    )
