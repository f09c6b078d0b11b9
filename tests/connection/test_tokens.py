"""What is found wrong with a token, or with what one is asked for with, before anything is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import OAuthSettings
from airflow_imap_provider.errors import SettingsError

from .builders import CERTIFICATE, COMPLETE, KEY, PIN, PKCS12, connect

ACCOUNT = {"client_email": "robot@example.com", "private_key": KEY, "token_uri": "https://oauth2.googleapis.com/token"}


@pytest.mark.parametrize("token", ["two words", "Bearer abc", "umläut", " abc", "a\tb"])
def test_what_is_no_bearer_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(SettingsError, match=r"Password \(password\): it is no bearer token") as caught:
        connect(auth_method="bearer", password=token)
    assert token not in str(caught.value)


def test_a_bearer_token_needs_somebody_whose_mailbox_it_opens() -> None:
    assert connect(login=None, password="abc", auth_method="bearer", alias="sales@example.com").auth.password == "abc"
    with pytest.raises(SettingsError, match=r"Username \(login\) or Alias \(alias\)"):
        connect(login=None, password="abc", auth_method="bearer")


@pytest.mark.parametrize("tenant", ["a/b", "a b", "example.com?x=y", "exämple"])
def test_a_tenant_that_would_bend_the_endpoints_address_is_refused(tenant: str) -> None:
    with pytest.raises(SettingsError, match=r"OAuth: tenant \(oauth_tenant\).*an id or a domain"):
        connect(**{**COMPLETE["oauth"], "oauth_tenant": tenant, "oauth_endpoint": None})


@pytest.mark.parametrize("key", [KEY, CERTIFICATE + KEY, PKCS12])
def test_a_service_account_is_json_and_nothing_else(key: str) -> None:
    with pytest.raises(SettingsError, match=r"\(oauth_private_key\): it is no service account's JSON"):
        connect(auth_method="oauth-service-account", oauth_private_key=key)


@pytest.mark.parametrize("key", [json.dumps(ACCOUNT), ACCOUNT, "/etc/keys/robot.json"])
def test_a_service_account_needs_nothing_but_its_json_and_the_mailbox(key: Any) -> None:
    assert connect(password=None, auth_method="oauth-service-account", oauth_private_key=key).auth.oauth.private_key


@pytest.mark.parametrize("more", [{}, {"oauth_tenant": "example.com"}, {"preset": "gmail"}])
def test_a_service_accounts_assertion_never_goes_to_microsoft(more: dict[str, str]) -> None:
    settings = connect(auth_method="oauth-service-account", oauth_private_key=json.dumps(ACCOUNT), **more)
    assert "microsoft" not in settings.auth.oauth.endpoint
    assert "office" not in settings.auth.oauth.scope


@pytest.mark.parametrize("preset", ["office365", "outlook"])
def test_a_service_account_and_a_preset_of_microsoft_do_not_go_together(preset: str) -> None:
    with pytest.raises(SettingsError, match=rf"\(preset\) is '{preset}': its servers are Microsoft's") as caught:
        connect(auth_method="oauth-service-account", oauth_private_key=json.dumps(ACCOUNT), preset=preset)
    assert "Choose gmail" in caught.value.remedy


def test_an_application_does_not_prove_itself_by_a_service_account() -> None:
    extra = {**COMPLETE["oauth"], "oauth_client_secret": None}
    with pytest.raises(SettingsError, match="which only Google takes"):
        connect(**extra)
    assert connect(**{**extra, "oauth_private_key": "/etc/keys/app.pem"})


def test_the_consents_name_changes_with_the_consent_and_does_not_tell_the_token() -> None:
    def consent(token: str, **extra: Any) -> str:
        given = {**COMPLETE["oauth"], "auth_method": "oauth-refresh-token", "oauth_refresh_token": token, **extra}
        return connect(**given).auth.oauth.fingerprint()

    assert consent("first") == consent("first", oauth_scope="other", timeout=5)
    assert len({consent("first"), consent("second"), consent("first", oauth_client_id="2222")}) == 3
    assert "first" not in consent("first")


@pytest.mark.parametrize("verify", ["pinned", "none"])
def test_the_ca_bundle_stays_for_the_endpoint_whatever_the_mail_server_need_not_stand_up_to(verify: str) -> None:
    besides = {"verify": verify, "ca_bundle": CERTIFICATE, "pins": [PIN]}
    assert connect(**{**COMPLETE["oauth"], **besides}).tls.ca_bundle == CERTIFICATE
    assert connect(**besides).tls.ca_bundle == ""


@pytest.mark.parametrize(
    ("query", "secrets"),
    [
        ("code=FunctionKey123", {"FunctionKey123"}),
        ("api-version=1&code=Function%2FKey+123", {"Function%2FKey+123", "Function/Key+123", "Function/Key 123"}),
        ("FunctionKey123", {"FunctionKey123"}),
        ("code=&p=1", set()),
    ],
)
def test_a_key_in_the_query_of_the_endpoint_is_a_secret(query: str, secrets: set[str]) -> None:
    plain = connect(**COMPLETE["oauth"])
    settings = connect(**{**COMPLETE["oauth"], "oauth_endpoint": f"https://login.example.com/token?{query}"})
    assert settings.auth.oauth.endpoint.endswith(query)
    assert settings.secrets() == plain.secrets() | secrets
    assert "endpoint='https://login.example.com/token?***'" in repr(settings)
    assert query not in repr(settings)


def test_a_repr_tells_everything_but_the_secrets() -> None:
    assert repr(OAuthSettings("t", "id", "s3c", "ret", "https://login.example.com/token", "scope", "s3c")) == (
        "OAuthSettings(tenant='t', client_id='id', endpoint='https://login.example.com/token', scope='scope')"
    )
