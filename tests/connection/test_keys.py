"""S/MIME keys in every form that the field takes, and what is said of those that cannot be used."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from airflow_imap_provider.connection.keys import smime_identities
from airflow_imap_provider.connection.settings import SmimeSettings
from airflow_imap_provider.errors import SettingsError
from tests.mail.smime.people import BOSS, CLERK, CURVED, ISSUER, closed, packed
from tests.servers.client_material import PASSPHRASE

from .builders import connect


def names(key: str, passphrase: str = "") -> list[str]:
    settings = connect(smime_private_key=key, smime_private_key_passphrase=passphrase or None).smime
    return [each.certificate.subject.rfc4514_string() for each in smime_identities(settings)]


def test_every_form_is_read(tmp_path: Path) -> None:
    several = BOSS.pem + CURVED.key_pem + ISSUER.pem + CLERK.pem + BOSS.key_pem + CURVED.pem
    assert names(several) == ["CN=Curved", "CN=Boss"]
    assert names(BOSS.pem + closed(BOSS) + CLERK.pem + CLERK.key_pem, PASSPHRASE) == ["CN=Boss", "CN=Clerk"]
    assert names(base64.b64encode(packed(CLERK)).decode(), PASSPHRASE) == ["CN=Clerk"]
    for name, content in (("key.pem", several.encode()), ("key.p12", packed(CLERK))):
        (tmp_path / name).write_bytes(content)
    assert names(str(tmp_path / "key.pem")) == ["CN=Curved", "CN=Boss"]
    assert names(str(tmp_path / "key.p12"), PASSPHRASE) == ["CN=Clerk"]
    assert smime_identities(SmimeSettings()) == ()


@pytest.mark.parametrize(
    ("key", "passphrase", "field", "said"),
    [
        (CLERK.pem + closed(CLERK), "wrong", "smime_private_key_passphrase", "does not open the key"),
        (CLERK.pem + closed(CLERK), "", "smime_private_key_passphrase", "is encrypted and needs one"),
        (CLERK.pem + CLERK.key_pem, "wrong", "smime_private_key_passphrase", "empty this field"),
        (
            base64.b64encode(packed(CLERK)).decode(),
            "wrong",
            "smime_private_key_passphrase",
            "does not open the PKCS#12",
        ),
        (base64.b64encode(packed(CLERK)).decode(), "", "smime_private_key_passphrase", "needs one"),
        (CLERK.key_pem, "", "smime_private_key", "no certificate in it"),
        (CLERK.pem, "", "smime_private_key", "no private key in it"),
        (BOSS.pem + CLERK.key_pem, "", "smime_private_key", "belongs to the key"),
        ("/nowhere/key.pem", "", "smime_private_key", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_by_its_field_without_a_secret(
    key: str, passphrase: str, field: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        names(key, passphrase)
    told = str(caught.value)
    assert f"({field}): " in told
    assert said in told
    assert "Encryption, S/MIME key" in told
    secrets = [line for line in key.splitlines() if len(line) > 30]
    assert not any(secret in told for secret in (*secrets, "wrong"))
    assert caught.value.__cause__ is None
