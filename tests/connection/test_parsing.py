from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given

from airflow_imap_provider.connection.fields import EXTRA_FIELDS, FIELDS
from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.errors import SettingsError

from .builders import COMPLETE, connect
from .strategies import extras

COMPLETE_CONNECTIONS = pytest.mark.parametrize("extra", COMPLETE.values(), ids=COMPLETE)


def test_address_username_and_password_are_enough() -> None:
    settings = connect()
    assert (settings.conn_id, settings.host, settings.port) == ("mail", "imap.example.com", 993)
    assert (settings.auth.method, settings.auth.login, settings.auth.password) == (
        "auto",
        "joe@example.com",
        "correct horse",
    )
    assert (settings.timeout, settings.code_page, settings.preset) == (60.0, "cp1252", "custom")


def test_fields_that_the_form_leaves_alone_are_not_set() -> None:
    assert connect(**dict.fromkeys([field.key for field in EXTRA_FIELDS])) == connect()


@COMPLETE_CONNECTIONS
def test_settings_are_equal_values_and_fit_as_cache_keys(extra: dict[str, Any]) -> None:
    assert {connect(**extra): 1}[connect(**extra)] == 1
    assert connect(**extra) != connect()
    with pytest.raises(FrozenInstanceError):
        connect(**extra).host = "other"  # type: ignore[misc]


@COMPLETE_CONNECTIONS
def test_no_secret_is_in_the_repr_and_all_are_among_the_secrets(extra: dict[str, Any]) -> None:
    settings = connect(**extra)
    values = [extra[field.key] for field in FIELDS if field.secret and field.key in extra] + ["correct horse"]
    assert settings.secrets() == set(values)
    assert not [value for value in values if value in repr(settings)]


def test_an_error_names_connection_tab_label_key_value_and_what_is_accepted() -> None:
    with pytest.raises(SettingsError) as caught:
        connect(verify="ful")
    assert str(caught.value) == (
        "settings: connection 'mail', tab Encryption: Verify certificate (verify) is 'ful': "
        "accepted are full, chain, pinned, none. Did you mean full?"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_password_pasted_along_with_the_address_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        connect(host="imap://joe:hunter22@imap.example.com")
    assert "hunter22" not in str(caught.value)
    assert "leave out the part up to ://" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("tls_version", "Allowed SSL/TLS versions (tls_versions) on the tab Encryption"),
        ("Time-Out", "Timeout (timeout) on the tab Main settings"),
        ("extra__imap4__verify", "Verify certificate (verify) on the tab Encryption"),
        ("use_ssl", "Cryptographic protocol (encryption) on the tab Encryption"),
        ("pasword", "Password (password) on the tab Standard Fields, not in the extra"),
        ("host", "Address (host) on the tab Standard Fields, not in the extra"),
        ("username", "Username (login) on the tab Standard Fields, not in the extra"),
    ],
)
def test_a_key_that_is_no_field_is_refused_with_the_field_that_was_meant(key: str, meant: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connect_with({key: "s3cret-or-not"})
    assert f"Did you mean {meant}?" in str(caught.value)
    assert "s3cret-or-not" not in str(caught.value)


def test_a_key_that_is_like_no_field_is_refused_with_all_that_are_accepted() -> None:
    with pytest.raises(SettingsError, match="'department' is no field of an imap4 connection") as caught:
        connect(department="sales")
    assert all(field.key in str(caught.value) for field in EXTRA_FIELDS)
    assert "Description" in str(caught.value)


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_field_of_a_later_version_is_no_error(nothing: str | None) -> None:
    assert connect(field_of_the_future=nothing) == connect()


def test_a_folder_in_the_uri_is_refused_with_its_place() -> None:
    with pytest.raises(SettingsError, match=r"Schema \(schema\).*the folder is a parameter"):
        parse("mail", host="h", port=None, login="joe", password="secret", extra={}, schema="INBOX")


def test_half_a_password_that_a_uri_made_the_schema_is_not_shown() -> None:
    # imap4://joe:12/s3cret@imap.example.com
    with pytest.raises(SettingsError, match="a / in the password is written %2F") as caught:
        parse("mail", host="joe", port=12, login=None, password=None, extra={}, schema="s3cret@imap.example.com")
    assert "s3cret" not in str(caught.value)


def test_an_extra_that_is_no_object_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be a JSON object"):
        connect_with(["timeout"])


@given(extra=extras)
def test_any_combination_is_either_parsed_in_full_or_refused_for_one_field(extra: dict[str, Any]) -> None:
    try:
        settings = connect(**extra)
    except SettingsError as error:
        refusal = str(error)
    else:
        refusal = None
        assert settings == connect(**extra)
        assert settings.security != "none" or extra["encryption"] == "none"
        assert settings.tls.verify == "full" or extra["verify"] == settings.tls.verify
        assert settings.tunnel.type == extra.get("tunnel_type", "none")
    assert refusal is None or any(f"({field.key})" in refusal for field in FIELDS)


def connect_with(extra: Any) -> object:
    return parse("mail", host="imap.example.com", port=None, login="joe", password="secret", extra=extra)
