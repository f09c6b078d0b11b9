"""Encryption, security mode and port: the table of docs/connection.md, line by line."""

from __future__ import annotations

from itertools import product

import pytest

from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import SettingsError

from .builders import CERTIFICATE, KEY, PIN, PKCS12, connect


@pytest.mark.parametrize(
    ("encryption", "mode", "port", "security", "effective_port"),
    [
        (None, None, None, "implicit", 993),
        ("ssl", None, None, "implicit", 993),
        ("tls", None, None, "starttls", 143),
        (None, None, 993, "implicit", 993),
        ("ssl", None, 993, "implicit", 993),
        ("tls", None, 993, "implicit", 993),
        (None, None, 143, "starttls", 143),
        ("ssl", None, 143, "starttls", 143),
        ("tls", None, 143, "starttls", 143),
        (None, None, 10993, "implicit", 10993),
        ("ssl", None, 10993, "implicit", 10993),
        ("tls", None, 10993, "starttls", 10993),
        (None, "implicit", None, "implicit", 993),
        ("tls", "implicit", None, "implicit", 993),
        (None, "explicit", None, "starttls", 143),
        ("ssl", "explicit", None, "starttls", 143),
        ("ssl", "explicit", 993, "starttls", 993),
        ("tls", "implicit", 143, "implicit", 143),
        ("none", None, None, "none", 143),
        ("none", None, 993, "none", 993),
    ],
)
def test_each_of_encryption_mode_and_port_follows_from_the_others(
    encryption: str | None, mode: str | None, port: int | None, security: str, effective_port: int
) -> None:
    settings = connect(port=port, encryption=encryption, security_mode=mode)
    assert (settings.security, settings.port) == (security, effective_port)


def test_only_no_encryption_itself_switches_encryption_off() -> None:
    for encryption, mode, port in product((None, "ssl", "tls"), (None, "implicit", "explicit"), (None, 143, 993, 1)):
        assert connect(port=port, encryption=encryption, security_mode=mode).security != "none"


def test_without_a_word_the_certificate_is_checked_in_full_with_tls_1_2_or_later() -> None:
    assert connect().tls == TlsSettings(versions=("TLSv1.2", "TLSv1.3"), verify="full", strict_x509=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("security_mode", "explicit"),
        ("tls_versions", ["TLSv1.3"]),
        ("verify", "full"),
        ("pins", [PIN]),
        ("client_certificate", CERTIFICATE),
        ("client_private_key", PKCS12),
        ("client_private_key_passphrase", "sesame"),
        ("server_name", "mail.example.com"),
    ],
)
def test_no_encryption_contradicts_every_field_that_asks_for_protection(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=r"\(encryption\) is 'none': this contradicts") as caught:
        connect(encryption="none", **{key: value})
    assert f"({key})" in str(caught.value)


def test_no_encryption_goes_with_fields_that_ask_for_nothing() -> None:
    settings = connect(encryption="none", verify="none", strict_x509=True)
    assert settings.security == "none"
    assert settings.tls == TlsSettings()


def test_the_ca_bundle_goes_with_no_encryption_for_token_endpoints_and_for_signatures() -> None:
    settings = connect(encryption="none", ca_bundle=CERTIFICATE, strict_x509=False)
    assert settings.tls == TlsSettings()
    assert settings.smime.issuers == CERTIFICATE
    oauth = {"auth_method": "oauth-refresh-token", "oauth_client_id": "app", "oauth_refresh_token": "t"}
    endpoint = "https://login.example.com/token"
    settings = connect(encryption="none", ca_bundle=CERTIFICATE, strict_x509=False, oauth_endpoint=endpoint, **oauth)
    assert settings.tls == TlsSettings(ca_bundle=CERTIFICATE, strict_x509=False)


@pytest.mark.parametrize(("verify", "used"), [("full", True), ("chain", True), ("pinned", False), ("none", False)])
def test_the_ca_bundle_is_used_where_the_issuer_is_checked(verify: str, used: bool) -> None:
    settings = connect(verify=verify, ca_bundle="/etc/ssl/ca.pem", pins=[PIN])
    assert settings.tls.ca_bundle == ("/etc/ssl/ca.pem" if used else "")


def test_pinned_only_needs_a_fingerprint() -> None:
    with pytest.raises(SettingsError, match=r"Pinned fingerprints \(pins\): there is none"):
        connect(verify="pinned")


def test_a_certificate_and_its_key_belong_together() -> None:
    with pytest.raises(SettingsError, match=r"Client certificate \(client_certificate\): it is empty"):
        connect(client_private_key=KEY)
    with pytest.raises(SettingsError, match=r"Client private key \(client_private_key\): it is empty"):
        connect(client_certificate=CERTIFICATE)
    assert connect(client_private_key=KEY + CERTIFICATE).tls.client_private_key == KEY + CERTIFICATE
    assert connect(client_private_key=PKCS12).tls.client_private_key == PKCS12
    assert connect(client_certificate="/etc/ssl/joe.pem").tls.client_certificate == "/etc/ssl/joe.pem"


@pytest.mark.parametrize("key", ["client_certificate", "ca_bundle"])
def test_a_private_key_in_a_field_that_is_shown_is_refused_with_its_place(key: str) -> None:
    with pytest.raises(
        SettingsError, match=r"Client private key \(client_private_key\), which is kept secret"
    ) as caught:
        connect(**{key: CERTIFICATE + KEY.replace("PRIVATE", "RSA PRIVATE")})
    assert KEY.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("key", ["client_private_key_passphrase", "smime_private_key_passphrase"])
def test_a_passphrase_without_its_key_is_an_error(key: str) -> None:
    with pytest.raises(SettingsError, match=rf"\({key}\): it is filled in, but there is no") as caught:
        connect(**{key: "sesame"})
    assert "sesame" not in str(caught.value)


def test_the_ca_bundle_counts_for_signatures_whatever_is_checked_of_the_server() -> None:
    for verify in ("full", "none"):
        assert connect(verify=verify, ca_bundle=CERTIFICATE).smime.issuers == CERTIFICATE
    assert connect(verify="none", ca_bundle=CERTIFICATE).tls.ca_bundle == ""
