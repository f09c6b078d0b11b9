from __future__ import annotations

import base64
import json
import ssl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.connection.material import certificates, fingerprint, private_key

from .builders import CERTIFICATE, KEY, PIN, PKCS12, connect


@pytest.fixture(scope="module")
def encrypted_key() -> str:
    """A key in OpenSSL's old encrypted form, whose header must stay on lines of its own."""
    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(b"sesame"),
        )
        .decode()
    )


@pytest.mark.parametrize("lost", ["", " ", "\\n", "\r\n"])
def test_pem_text_that_lost_its_line_breaks_gets_them_back(lost: str) -> None:
    assert private_key((KEY + CERTIFICATE).replace("\n", lost)) == KEY + CERTIFICATE


@pytest.mark.parametrize("lost", ["\n", " ", "\\n"])
def test_an_old_encrypted_key_still_opens_after_its_repair(lost: str, encrypted_key: str) -> None:
    repaired = private_key(encrypted_key.replace("\n", lost))
    assert serialization.load_pem_private_key(repaired.encode(), b"sesame")


def test_an_old_encrypted_key_without_any_line_break_is_refused_with_the_way_out(encrypted_key: str) -> None:
    with pytest.raises(ValueError, match="openssl pkcs8"):
        private_key(encrypted_key.replace("\n", ""))


def test_what_stands_around_the_blocks_is_left_out() -> None:
    assert certificates(f"Bag Attributes\n  friendlyName: x\n{CERTIFICATE}rest") == CERTIFICATE


def test_a_repaired_bundle_is_what_openssl_reads() -> None:
    bundle = certificates(ssl.DER_cert_to_PEM_cert(b"\x30" * 200).replace("\n", " "))
    assert ssl.PEM_cert_to_DER_cert(bundle) == b"\x30" * 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CERTIFICATE.replace("-----END", "----END"), "has no end"),
        (CERTIFICATE.replace("Y2Nj", "Y2N!", 1), "damaged or cut off"),
        ("-----BEGIN nothing", "that can be read"),
        ("/etc/ssl/a.pem\n/etc/ssl/b.pem", "line breaks"),
    ],
)
def test_damaged_certificates_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        certificates(text)


def test_a_path_stays_a_path() -> None:
    assert certificates(" /etc/ssl/ca.pem ") == "/etc/ssl/ca.pem"
    assert private_key("/etc/ssl/key.pem") == "/etc/ssl/key.pem"


def test_pkcs12_may_be_wrapped_as_base64_tools_do_it() -> None:
    assert private_key("\n".join(PKCS12[i : i + 76] for i in range(0, len(PKCS12), 76))) == PKCS12


def test_cut_off_pkcs12_is_refused() -> None:
    with pytest.raises(ValueError, match="PKCS#12"):
        private_key(PKCS12[:-3])


def test_a_service_account_must_have_its_address_and_key() -> None:
    account = json.dumps({"client_email": "robot@example.com", "private_key": KEY})
    assert private_key(account) == account
    with pytest.raises(ValueError, match="client_email or private_key is missing"):
        private_key('{"type": "service_account"}')
    with pytest.raises(ValueError, match="client_email or private_key is missing"):
        private_key('{"client_email": 1, "private_key": 2}')
    with pytest.raises(ValueError, match="begins like JSON"):
        private_key("{nothing")
    with pytest.raises(ValueError, match="begins like JSON"):
        private_key('{"a":' * 100_000)


@pytest.mark.parametrize(
    "written",
    [
        PIN.upper(),
        ":".join(["AB"] * 32),
        "sha256 Fingerprint=" + ":".join(["AB"] * 32),
        "SHA256:" + PIN,
        "sha256//" + base64.b64encode(bytes.fromhex(PIN)).decode(),
        base64.b64encode(bytes.fromhex(PIN)).decode(),
        f"{PIN}  -",
        f"{PIN} *mail.der",
        f"0x{PIN}",
        f'pin-sha256="{base64.b64encode(bytes.fromhex(PIN)).decode()}"',
        "SHA256:" + base64.b64encode(bytes.fromhex(PIN)).decode().rstrip("="),
    ],
)
def test_fingerprints_are_understood_as_tools_print_them(written: str) -> None:
    assert fingerprint(written) == PIN


@given(st.binary(min_size=32, max_size=32))
def test_every_fingerprint_reads_the_same_in_hexadecimal_and_base64(digest: bytes) -> None:
    assert fingerprint(digest.hex()) == fingerprint(base64.b64encode(digest).decode()) == digest.hex()


def test_characters_beyond_ascii_are_answered_in_our_own_words() -> None:
    for reader in (certificates, private_key):
        with pytest.raises(ValueError, match="damaged or cut off"):
            reader("-----BEGIN CERTIFICATE-----\nYWJjä\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="it looks like PKCS#12, but its base64 is damaged"):
        private_key("M" * 250 + "ä")
    with pytest.raises(ValueError, match=r"64 hexadecimal digits.*commas"):
        fingerprint("ä" * 44)


def test_several_pins_may_have_semicolons_between_them() -> None:
    base = base64.b64encode(bytes.fromhex(PIN)).decode()
    assert connect(pins=f'pin-sha256="{base}"; {"cd" * 32}').tls.pins == (PIN, "cd" * 32)


def test_a_sha1_fingerprint_is_refused_as_one() -> None:
    with pytest.raises(ValueError, match="SHA-1"):
        fingerprint("ab" * 20)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for reader in (certificates, private_key, fingerprint):
        try:
            value = reader(text)
        except ValueError:
            continue
        assert reader(value) == value
