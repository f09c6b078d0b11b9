"""What Airflow hands over of a connection, and what it passes over in silence."""

from __future__ import annotations

import json
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from airflow.sdk import BaseHook, Connection

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.settings import async_settings, connection_settings

Reader = Callable[[str], Awaitable[Settings]]


async def in_a_task(conn_id: str) -> Settings:
    return connection_settings(conn_id)


both = pytest.mark.parametrize("reader", [in_a_task, async_settings], ids=["task", "triggerer"])


def store(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    connection = {"conn_type": "imap4", "host": "mail.example.com", "login": "joe", "password": "Sup3rS3cret"}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", json.dumps({**connection, **values}))


@both
@pytest.mark.parametrize("extra", ['{"timeout": 30}', " \n", ""])
async def test_a_connection_is_read(extra: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    store(monkeypatch, extra=extra)
    settings = await reader("mailbox")
    assert (settings.host, settings.timeout) == ("mail.example.com", 30 if "30" in extra else 60)


@both
@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ('{"tunnel_type": "socks5",\n "tunnel_password": "hunter22",}', r"no JSON.*\(line 2, column \d+\)"),
        ("hunter22", r"no JSON.*\(line 1, column 1\)"),
        ('["hunter22"]', "must be a JSON object"),
    ],
)
async def test_an_extra_that_airflow_would_take_for_an_empty_one_is_an_error(
    extra: str, said: str, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(monkeypatch, extra=extra)
    with pytest.raises(SettingsError, match=said) as caught:
        await reader("mailbox")
    assert "'mailbox'" in str(caught.value)
    assert "hunter22" not in "".join(traceback.format_exception_only(caught.value))
    assert not isinstance(caught.value.__context__, json.JSONDecodeError), "which holds the whole text"


@both
async def test_an_extra_that_is_nested_too_deep_is_an_error(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    # From the database; Airflow itself refuses such an environment variable.
    connection = Connection(conn_id="mailbox", conn_type="imap4", extra='{"a":' * 100_000)

    async def found(_: str) -> Connection:
        return connection

    monkeypatch.setattr(BaseHook, "get_connection", lambda _: connection)
    monkeypatch.setattr(BaseHook, "aget_connection", found)
    with pytest.raises(SettingsError, match="nested too deep"):
        await reader("mailbox")


@both
async def test_a_connection_of_another_type_is_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    store(monkeypatch, conn_type="smtp")
    with pytest.raises(SettingsError, match="connection 'mailbox' is of type smtp, not imap4"):
        await reader("mailbox")


@both
async def test_a_connection_without_a_type_is_taken(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    store(monkeypatch, conn_type="")
    assert (await reader("mailbox")).host == "mail.example.com"


@both
async def test_a_connection_that_is_missing_says_what_to_do(reader: Reader) -> None:
    with pytest.raises(SettingsError, match=r"there is no connection .*Add a connection of type IMAP4"):
        await reader("nowhere")
