"""What a connection says does not depend on how it was written: by form, as JSON, or as a URI."""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
from airflow.models.connection import Connection as ServerConnection
from airflow.sdk import Connection as TaskConnection
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_imap_provider.connection.field import Field
from airflow_imap_provider.connection.fields import EXTRA_FIELDS
from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.urls import MASK
from airflow_imap_provider.connection.values import read

from .builders import COMPLETE, connect
from .strategies import raw_values

Connection = TaskConnection | ServerConnection


def as_uri(kind: type[Connection]) -> Callable[[dict[str, Any]], Connection]:
    def travel(extra: dict[str, Any]) -> Connection:
        return kind(conn_id="mail", uri=stored(kind, extra).get_uri())

    return travel


def as_json(kind: type[Connection]) -> Callable[[dict[str, Any]], Connection]:
    def travel(extra: dict[str, Any]) -> Connection:
        return kind.from_json(stored(kind, extra).as_json(), conn_id="mail")

    return travel


def stored(kind: type[Connection], extra: dict[str, Any]) -> Connection:
    return kind(
        conn_id="mail",
        conn_type="imap4",
        host="imap.example.com",
        login="joe@example.com",
        password="p@ss/w:rd %",
        extra=json.dumps(extra),
    )


WAYS = pytest.mark.parametrize(
    "travel",
    [as_uri(TaskConnection), as_uri(ServerConnection), as_json(TaskConnection), as_json(ServerConnection)],
    ids=["task-uri", "server-uri", "task-json", "server-json"],
)
EXTRA = pytest.mark.parametrize("spec", EXTRA_FIELDS, ids=attrgetter("key"))


def would_airflow_change(raw: object) -> bool:
    """Whether the server takes this text in a URI for JSON, which docs/connection.md warns of."""
    if not isinstance(raw, str):
        return False
    try:
        return not isinstance(json.loads(raw), (int, bool)) or raw != str(json.loads(raw)).lower()
    except ValueError:
        return False


@WAYS
@EXTRA
@settings(max_examples=25, deadline=None)  # each of the 140 combinations; Airflow loads half of itself on first use
@given(data=st.data())
def test_every_field_survives_the_way(
    spec: Field, travel: Callable[[dict[str, Any]], Connection], data: st.DataObject
) -> None:
    raw = data.draw(raw_values(spec))
    assume(not would_airflow_change(raw) and raw != MASK)
    arrived = travel({spec.key: raw})
    assert arrived.conn_type == "imap4"
    assert read(spec, arrived.extra_dejson[spec.key]) == read(spec, raw)


@WAYS
@pytest.mark.parametrize("extra", COMPLETE.values(), ids=COMPLETE)
def test_a_complete_connection_says_the_same_after_the_way(
    extra: dict[str, Any], travel: Callable[[dict[str, Any]], Connection]
) -> None:
    arrived = travel(extra)
    assert parsed(arrived) == connect(password="p@ss/w:rd %", **extra)


@pytest.mark.parametrize("kind", [TaskConnection, ServerConnection])
@pytest.mark.parametrize(
    "query",
    [
        "timeout=30&tls_versions=TLSv1.2,TLSv1.3&strict_x509=false&verify=chain&code_page=1250",
        "timeout=30.0&tls_versions=%5B%22TLSv1.3%22%2C+%22TLSv1.2%22%5D&strict_x509=False&verify=CHAIN&code_page=cp1250",
        "__extra__=%7B%22timeout%22%3A+30%2C+%22strict_x509%22%3A+false%2C+%22verify%22%3A+%22chain%22%2C"
        "+%22code_page%22%3A+%22cp1250%22%2C+%22preset%22%3A+null%7D",
    ],
)
def test_a_uri_written_by_hand_is_understood(kind: type[Connection], query: str) -> None:
    connection = kind(conn_id="mail", uri=f"imap4://joe%40example.com:correct%20horse@imap.example.com/?{query}")
    assert parsed(connection) == connect(timeout=30, strict_x509=False, verify="chain", code_page="cp1250")


@pytest.mark.parametrize("kind", [TaskConnection, ServerConnection])
def test_an_ipv6_address_survives_a_uri(kind: type[Connection]) -> None:
    for written in ("%5B2001%3Adb8%3A%3A1%5D", "2001%3Adb8%3A%3A1"):
        connection = kind(conn_id="mail", uri=f"imap4://joe:secret@{written}:1993")
        assert (parsed(connection).host, parsed(connection).port) == ("2001:db8::1", 1993)


def test_a_connection_in_an_environment_variable_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "conn_type": "imap4",
        "host": "imap.example.com",
        "login": "joe@example.com",
        "password": "correct horse",
        "port": "993",
        "extra": {"timeout": 30},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps(document))
    assert parsed(TaskConnection.get("mail")) == connect(port=993, timeout=30)


def parsed(connection: Connection) -> object:
    return parse(
        "mail",
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        extra=connection.extra_dejson,
        schema=connection.schema,
    )
