"""Where replaced refresh tokens go, and what is said when that does not work; a real Airflow is in tests/airflow."""

from __future__ import annotations

import json
import logging
import sqlite3

import pytest
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key

from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.errors import RefusedError
from airflow_imap_provider.hooks.refresh_tokens import VariableKeeper, variable_name
from airflow_imap_provider.hooks.settings import connection_settings

OAUTH = OAuthSettings(client_id="0000", refresh_token="the-first-refresh-token", endpoint="https://login.example.com/")
NEWEST = "newest-refresh-token-of-all"


def test_the_variables_name_is_one_that_airflow_masks_and_tells_no_token() -> None:
    name = variable_name(OAUTH)
    assert should_hide_value_for_key(name)
    assert name.startswith("imap4_refresh_token_")
    assert len(name) <= 250
    assert "the-first" not in name


def test_what_was_kept_is_found_and_nothing_where_nothing_was(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = VariableKeeper(OAUTH, "joe@example.com")
    monkeypatch.setenv(f"AIRFLOW_VAR_{keeper.name.upper()}", NEWEST)
    assert keeper.newest() == NEWEST


def break_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a database says that is away; its message quotes the statement with its values."""

    def away(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError(f"no such table: variable [parameters: {NEWEST}]")

    monkeypatch.setattr("airflow.models.variable.create_session", away)
    monkeypatch.setattr("airflow.models.variable.ensure_secrets_loaded", away)


def test_a_token_that_cannot_be_stored_is_an_error_in_the_log_that_says_what_it_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_the_database(monkeypatch)
    with caplog.at_level(logging.DEBUG):
        assert VariableKeeper(OAUTH, "joe@example.com").keep(NEWEST) is False
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR and "imap" in record.name]
    for words in ("joe@example.com", "OperationalError", "consent again", "(oauth_refresh_token)"):
        assert words in record.getMessage()
    assert NEWEST not in caplog.text


def test_what_cannot_be_read_is_a_temporary_error_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_database(monkeypatch)
    with pytest.raises(RefusedError, match="cannot be read from the Variable") as caught:
        VariableKeeper(OAUTH, "joe@example.com").newest()
    assert caught.value.stage == "token"
    assert caught.value.__context__ is None
    assert NEWEST not in str(caught.value)


@pytest.mark.parametrize(("method", "kept"), [("oauth-refresh-token", True), ("oauth-client-credentials", False)])
def test_only_a_connection_with_a_refresh_token_has_one_to_keep(
    method: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {
        "auth_method": method,
        "oauth_client_id": "0000",
        "oauth_client_secret": "s3cret",
        "oauth_refresh_token": "the-first-refresh-token",
        "oauth_endpoint": "https://login.example.com/",
        "oauth_scope": "mail",
    }
    connection = {"conn_type": "imap4", "host": "mail.example.com", "login": "joe", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", json.dumps(connection))
    keeper = connection_settings("mailbox").auth.oauth.keeper
    assert isinstance(keeper, VariableKeeper) == kept
    assert not kept or (isinstance(keeper, VariableKeeper) and keeper.name == variable_name(OAUTH))
