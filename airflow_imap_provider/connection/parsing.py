"""From an Airflow connection's raw values to :class:`Settings`, or to one error that says what to change.

Reads no file and opens no connection, so bad settings are found at parse time.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from airflow_imap_provider.connection.field import STANDARD
from airflow_imap_provider.connection.fields import CONNECTION_TYPE, EXTRA_FIELDS, FIELDS, field
from airflow_imap_provider.connection.limits import DEFAULT_TIMEOUT
from airflow_imap_provider.connection.presets import fill
from airflow_imap_provider.connection.rules import (
    auth_settings,
    security_and_port,
    smime_settings,
    tls_settings,
    tunnel_settings,
)
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.connection.shared import shared
from airflow_imap_provider.connection.values import Value, read, wrong
from airflow_imap_provider.errors import SettingsError

__all__ = ["parse"]

_ANY_FIELD = "Remove it, or name a field by its key; notes belong into Description."

# What people bring along from other connection types, and the field here that means it.
_ELSEWHERE = {
    "use_ssl": "encryption",
    "use_tls": "encryption",
    "ssl": "encryption",
    "starttls": "security_mode",
    "ssl_context": "verify",
    "ca": "ca_bundle",
    "cafile": "ca_bundle",
    "username": "login",
    "user": "login",
    "address": "host",
    "server": "host",
}


def parse(
    conn_id: str,
    *,
    host: str | None,
    port: int | str | None,
    login: str | None,
    password: str | None,
    extra: Mapping[str, object],
    schema: str | None = None,
) -> Settings:
    """The settings that a connection describes.

    :param conn_id: for messages, and part of the settings.
    :param extra: the decoded extra of the connection; ``None`` as a value means not set.
    :param schema: Airflow's field of that name, which a URI fills with what follows the address; must be empty.
    :raises SettingsError: for the first field that cannot be used; names tab, label, key, value (never a secret's),
        what is accepted, and what to do.
    """
    standard = {"host": host, "port": port, "login": login, "password": password}
    try:
        return _settings(conn_id, standard, extra, schema)
    except SettingsError as error:
        problem = f"connection {conn_id!r}, {error.problem}"
        raise type(error)(problem, stage=error.stage, remedy=error.remedy) from None


def _settings(
    conn_id: str, standard: Mapping[str, object], extra: Mapping[str, object], schema: str | None
) -> Settings:
    if schema:
        raise SettingsError(
            # Its value is not shown: it is half of the password if that has a slash.
            f"tab {STANDARD}: Schema (schema) is filled in: a mail server has none.",
            stage="settings",
            remedy="In a URI nothing follows the address but /?…: the folder is a parameter of the trigger or task, "
            "and a / in the password is written %2F.",
        )
    if not isinstance(extra, Mapping):
        raise SettingsError("extra: it must be a JSON object.", stage="settings", remedy=_ANY_FIELD)
    _every_key_is_known(extra)
    values = fill(_read(standard, extra))
    if not values.given("host"):
        raise wrong(field("host"), "it is empty", remedy="Fill it in, or choose a Server preset (preset).")
    security, port = security_and_port(values)
    address = values.text("host")
    return Settings(
        conn_id=conn_id,
        host=address,
        port=port,
        security=security,
        timeout=values.number("timeout", DEFAULT_TIMEOUT),
        code_page=values.text("code_page", Settings.code_page),
        preset=values.text("preset", Settings.preset),
        tls=shared(tls_settings(values, security)),
        auth=auth_settings(values),
        tunnel=shared(tunnel_settings(values, address)),
        smime=shared(smime_settings(values)),
    )


def _read(standard: Mapping[str, object], extra: Mapping[str, object]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for spec in FIELDS:
        raw = standard[spec.key] if spec.tab == STANDARD else extra.get(spec.key)
        value = read(spec, raw)
        if value is not None:
            values[spec.key] = value
    return values


def _every_key_is_known(extra: Mapping[str, object]) -> None:
    known = {spec.key for spec in EXTRA_FIELDS}
    # A field of a later version that nobody filled in is stored as null; it asks for nothing.
    unknown = [key for key, value in extra.items() if key not in known and value not in (None, "")]
    if not unknown:
        return
    key = unknown[0]
    raise SettingsError(
        f"extra: {key!r} is no field of an {CONNECTION_TYPE} connection.", stage="settings", remedy=_meant(key)
    )


def _meant(key: str) -> str:
    bare = str(key).lower().replace("-", "_").removeprefix(f"extra__{CONNECTION_TYPE}__")
    fields = {spec.key: spec for spec in FIELDS}
    close = get_close_matches(bare, fields, n=1)
    if found := fields.get(_ELSEWHERE.get(bare, close[0] if close else "")):
        where = f"on the tab {found.tab}, not in the extra" if found.tab == STANDARD else f"on the tab {found.tab}"
        return f"Did you mean {found.name} {where}?"
    return f"{_ANY_FIELD} Accepted are {', '.join(spec.key for spec in EXTRA_FIELDS)}."
