"""Values that are hard to write arrive unchanged, however the connection is stored, through Airflow's own classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.models.connection import Connection as ServerConnection
from airflow.sdk import Connection as TaskConnection
from airflow.sdk._shared.secrets_masker import _secrets_masker

from airflow_imap_provider.connection.field import STANDARD, Kind
from airflow_imap_provider.connection.fields import EXTRA_FIELDS, FIELDS
from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.settings import connection_settings
from tests.connection.builders import COMPLETE

Connection = TaskConnection | ServerConnection
Way = Callable[[Connection, pytest.MonkeyPatch], Settings]

BASE: dict[str, Any] = {"host": "imap.example.com", "port": 1993, "login": "joe@example.com", "password": "secret"}
HARD = {
    "a URL's signs": "@:/?#[]!$&'()*+,;=",
    "percent": "100%41%zz%",
    "quotes": "'single' \"double\" `back`",
    "backslashes": "\\n \\\\ \\u0041",
    "blanks": "  in front, within and behind  ",
    "umlauts": "Größe",
    "other alphabets": "漢字 Ελλάδα עברית",
    "beyond the basic plane": "🔑𝔘",
    "JSON": '{"a": [1, null]}',
    "a number": "0012345",
    "null": "null",
    "true": "true",
    "a template": "{{ ds }} ${HOME} $(id) <b>",
}
TEXT = [spec for spec in FIELDS if spec.kind is Kind.TEXT and spec.key != "oauth_tenant"]
"""A tenant becomes a part of a web address, so that only an id or a domain is accepted: it has tests of its own."""
TENANTS = ("0012345", "null", "true", "contoso.onmicrosoft.com", "8d0a4c1e-0f0b-4c3e-9d55-0123456789ab", "a_b-c.d")


@pytest.fixture(autouse=True)
def forgetful_masker() -> None:
    """Airflow's masker becomes slow by the many secrets that it is told here."""
    _secrets_masker().reset_masker()


def of(connection: Connection) -> Settings:
    return parse(
        "mail",
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=connection.extra_dejson,
        schema=connection.schema,
    )


def by_environment(document: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", document)
    return connection_settings("mail")


WAYS: dict[str, Way] = {
    "stored": lambda connection, _: of(connection),
    "uri": lambda connection, _: of(type(connection)(conn_id="mail", uri=connection.get_uri())),
    "json": lambda connection, _: of(type(connection).from_json(connection.as_json(), conn_id="mail")),
    "uri in the environment": lambda connection, patch: by_environment(connection.get_uri(), patch),
    "json in the environment": lambda connection, patch: by_environment(connection.as_json(), patch),
}
ways = pytest.mark.parametrize(
    ("way", "kind"),
    # What the environment holds is always read by the task's class.
    [
        (way, kind)
        for way in WAYS
        for kind in (TaskConnection, ServerConnection)
        if kind is TaskConnection or "env" not in way
    ],
)


def stored(kind: type[Connection], values: dict[str, Any]) -> Connection:
    extra = {key: value for key, value in values.items() if key not in BASE}
    standard = {key: values[key] for key in BASE}
    return kind(conn_id="mail", conn_type="imap4", **standard, extra=json.dumps(extra))


def expected(values: dict[str, Any]) -> Settings:
    extra = {key: value for key, value in values.items() if key not in BASE}
    return parse("mail", **{key: values[key] for key in BASE}, extra=extra)


def test_the_connections_below_fill_in_every_field() -> None:
    assert {key for extra in COMPLETE.values() for key in extra} | set(BASE) == {spec.key for spec in FIELDS}


@ways
@pytest.mark.parametrize("complete", COMPLETE)
@pytest.mark.parametrize("hard", HARD)
def test_every_text_field_at_once_holds_what_is_hard_to_write(
    hard: str, complete: str, way: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**BASE, **COMPLETE[complete]}
    for spec in TEXT:
        if spec.key in values:
            values[spec.key] = f"{HARD[hard]}{spec.key}"  # another in each: none may get into another's place
    values["pins"] = values.get("pins") or ["ab" * 32]  # a list: the extra goes as one JSON object
    settings = WAYS[way](stored(kind, values), monkeypatch)
    assert settings == expected(values)
    assert settings.auth.password == f"{HARD[hard]}password"


@ways
@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_arrives_as_it_is(
    tenant: str, way: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**BASE, **COMPLETE["oauth"], "oauth_tenant": tenant, "pins": ["ab" * 32]}  # a list: as above
    assert WAYS[way](stored(kind, values), monkeypatch).auth.oauth.tenant == tenant


@ways
@pytest.mark.parametrize("hard", [name for name in HARD if HARD[name] not in TENANTS])
def test_a_tenant_that_is_none_arrives_unchanged_at_the_error_that_says_so(
    hard: str, way: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**BASE, **COMPLETE["oauth"], "oauth_tenant": HARD[hard], "pins": ["ab" * 32]}  # a list: as above
    with pytest.raises(SettingsError) as direct:
        expected(values)
    with pytest.raises(SettingsError) as caught:
        WAYS[way](stored(kind, values), monkeypatch)
    assert str(caught.value) == str(direct.value)
    assert f"(oauth_tenant) is {HARD[hard].strip()!r}: it must be an id or a domain" in str(caught.value)


@ways
@pytest.mark.parametrize("hard", HARD)
def test_username_and_password_hold_it_also_without_an_extra(
    hard: str, way: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**BASE, "login": HARD[hard], "password": HARD[hard]}
    settings = WAYS[way](stored(kind, values), monkeypatch)
    assert (settings.auth.login, settings.auth.password) == (HARD[hard].strip(), HARD[hard])


@ways
@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_fields_that_are_empty_or_null_are_not_set(
    nothing: str | None, way: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**BASE, **dict.fromkeys([spec.key for spec in EXTRA_FIELDS if spec.tab != STANDARD], nothing)}
    assert WAYS[way](stored(kind, values), monkeypatch) == expected(BASE)


@ways
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_breaks_of_keys_and_certificates_arrive(
    ends: str, way: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**BASE, **COMPLETE["password"]}
    for key in ("ca_bundle", "client_certificate", "client_private_key"):
        values[key] = str(values[key]).replace("\n", ends)
    settings = WAYS[way](stored(kind, values), monkeypatch)
    assert settings == expected({**BASE, **COMPLETE["password"]})
    assert settings.tls.client_private_key.count("\n") == 3
