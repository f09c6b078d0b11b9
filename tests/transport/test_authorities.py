"""Where the issuers come from that are trusted for signatures."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.transport.authorities import trusted_issuers
from tests.servers.certificates import Authority


def test_a_bundle_is_text_file_or_folder(tmp_path: Path) -> None:
    first, second = Authority(tmp_path / "a", "First"), Authority(tmp_path / "a", "Second")
    assert len(trusted_issuers(first.pem + second.pem + first.pem)) == 2
    assert trusted_issuers(str(first.path)) == trusted_issuers(first.pem)
    assert set(trusted_issuers(str(tmp_path / "a"))) == set(trusted_issuers(first.pem + second.pem))


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    first, second = Authority(tmp_path / "a", "First"), Authority(tmp_path / "a", "The Second")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(first.pem)
    assert trusted_issuers(str(bundle)) == trusted_issuers(first.pem)
    bundle.write_text(first.pem + second.pem)
    assert len(trusted_issuers(str(bundle))) == 2


def test_without_a_bundle_the_systems_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    assert trusted_issuers("") == trusted_issuers(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert trusted_issuers("") == trusted_issuers(authority.pem)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    assert trusted_issuers("") == ()


@pytest.mark.parametrize("bundle", ["/nowhere/ca.pem", "-----BEGIN CERTIFICATE-----\nAA\n", "\0"])
def test_a_bundle_that_cannot_be_read_names_its_field(bundle: str) -> None:
    with pytest.raises(SettingsError, match=r"Encryption, CA bundle \(ca_bundle\): "):
        trusted_issuers(bundle)
