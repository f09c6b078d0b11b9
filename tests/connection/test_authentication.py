from __future__ import annotations

import json

import pytest

from airflow_imap_provider.connection.fields import field
from airflow_imap_provider.connection.presets import PRESETS
from airflow_imap_provider.connection.settings import OAuthSettings, Settings
from airflow_imap_provider.errors import SettingsError

from .builders import COMPLETE, KEY, PKCS12, connect

METHODS = field("auth_method").accepted


@pytest.mark.parametrize("key", ["login", "password"])
@pytest.mark.parametrize("method", ["auto", "login", "plain", "cram-md5", "scram-sha-1", "scram-sha-256", "bearer"])
def test_a_method_with_a_password_needs_username_and_password(method: str, key: str) -> None:
    values = {"login": "joe", "password": "secret"} | {key: None}
    with pytest.raises(SettingsError, match=rf"\({key}\): it is empty"):
        connect(auth_method=method, **values)


def test_anonymous_needs_nothing() -> None:
    assert connect(login=None, password=None, auth_method="anonymous").auth.method == "anonymous"


def test_external_needs_a_client_certificate_and_encryption() -> None:
    assert connect(login=None, password=None, auth_method="external", client_private_key=PKCS12)
    with pytest.raises(SettingsError, match="Client certificate"):
        connect(auth_method="external")
    with pytest.raises(SettingsError, match="contradicts"):
        connect(auth_method="external", client_private_key=PKCS12, encryption="none")


@pytest.mark.parametrize("missing", ["oauth_client_id", "oauth_scope"])
def test_client_credentials_need_application_and_scope(missing: str) -> None:
    with pytest.raises(SettingsError, match=rf"\({missing}\): it is empty"):
        connect(**{**COMPLETE["oauth"], missing: None, "oauth_tenant": None})


def test_client_credentials_prove_themselves_by_secret_or_certificate() -> None:
    both_empty = {**COMPLETE["oauth"], "oauth_client_secret": None, "oauth_private_key": None}
    with pytest.raises(SettingsError, match=r"\(oauth_client_secret\) or .*\(oauth_private_key\)"):
        connect(**both_empty)
    assert connect(**{**both_empty, "oauth_private_key": KEY}).auth.oauth.private_key == KEY


def test_a_service_account_may_be_pasted_as_an_object() -> None:
    account = {"client_email": "robot@example.com", "private_key": KEY}
    settings = connect(preset="gmail", auth_method="oauth-service-account", oauth_private_key=account)
    assert json.loads(settings.auth.oauth.private_key) == account
    assert settings.auth.oauth.scope == "https://mail.google.com/"


@pytest.mark.parametrize("method", ["login", "cram-md5", "anonymous"])
def test_an_alias_with_a_method_that_has_no_place_for_it_names_those_that_have(method: str) -> None:
    with pytest.raises(SettingsError, match=r"Alias \(alias\) is 'sales'.*Methods that can are auto, plain") as caught:
        connect(auth_method=method, alias="sales")
    assert "bearer" in str(caught.value)
    assert f" {method}," not in str(caught.value)


def test_oauth_fields_with_an_automatic_method_are_an_error() -> None:
    with pytest.raises(SettingsError, match=r"OAuth: application id \(oauth_client_id\) would have no effect"):
        connect(oauth_client_id="0000")


def test_a_password_method_chosen_expressly_keeps_oauth_fields_without_using_them() -> None:
    settings = connect(**{**COMPLETE["oauth"], "auth_method": "login"})
    assert settings.auth.oauth == OAuthSettings()
    assert settings == connect(auth_method="login")


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "custom"])
def test_a_preset_fills_what_is_empty(name: str) -> None:
    settings = connect(host=None, preset=name, auth_method="login")
    assert settings.host == PRESETS[name].host
    assert (settings.port, settings.security) == (993, "implicit")


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "custom"])
def test_a_preset_never_changes_what_is_filled_in(name: str) -> None:
    filled = connect(host="relay.example.com", port=1993, preset=name, auth_method="plain", encryption="tls")
    assert (filled.host, filled.port, filled.security) == ("relay.example.com", 1993, "starttls")
    assert filled.auth.method == "plain"


@pytest.mark.parametrize(
    ("chosen", "port", "security"),
    [({"security_mode": "explicit"}, 143, "starttls"), ({"encryption": "none"}, 143, "none"), ({}, 993, "implicit")],
)
def test_the_port_of_a_preset_gives_way_to_an_encryption_that_it_does_not_fit(
    chosen: dict[str, str], port: int, security: str
) -> None:
    settings = connect(preset="fastmail", **chosen)
    assert (settings.port, settings.security) == (port, security)


def test_a_custom_preset_leaves_the_address_to_the_user() -> None:
    with pytest.raises(SettingsError, match=r"Address \(host\): it is empty.*Server preset"):
        connect(host=None, preset="custom")


@pytest.mark.parametrize("name", ["office365", "outlook"])
def test_a_password_for_microsoft_is_answered_with_the_reason_and_the_way_out(name: str) -> None:
    with pytest.raises(SettingsError, match=r"Microsoft no longer accepts passwords for IMAP"):
        connect(host=None, preset=name)


def microsoft(**extra: str) -> Settings:
    return connect(host=None, password=None, oauth_client_id="0000", **extra)


def test_office_365_is_complete_with_tenant_application_and_secret() -> None:
    oauth = microsoft(preset="office365", oauth_tenant="example.com", oauth_client_secret="app-secret").auth.oauth
    assert oauth.endpoint == "https://login.microsoftonline.com/example.com/oauth2/v2.0/token"
    assert oauth.scope == "https://outlook.office365.com/.default"


def test_an_application_of_its_own_right_cannot_do_without_its_tenant() -> None:
    with pytest.raises(SettingsError, match=r"\(oauth_endpoint\) or OAuth: tenant \(oauth_tenant\)"):
        microsoft(preset="office365", oauth_client_secret="app-secret")


@pytest.mark.parametrize(("name", "tenant"), [("office365", "organizations"), ("outlook", "consumers")])
def test_a_refresh_token_is_complete_with_the_application(name: str, tenant: str) -> None:
    auth = microsoft(preset=name, oauth_refresh_token="consent").auth
    assert auth.method == "oauth-refresh-token"
    assert auth.oauth.endpoint == f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    assert "IMAP.AccessAsUser.All" in auth.oauth.scope


def test_a_tenant_alone_means_microsoft() -> None:
    settings = connect(
        auth_method="oauth-refresh-token", oauth_tenant="t", oauth_client_id="0", oauth_refresh_token="r"
    )
    assert settings.auth.oauth.endpoint == "https://login.microsoftonline.com/t/oauth2/v2.0/token"
