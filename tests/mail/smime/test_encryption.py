"""Encryption: what OpenSSL encrypts is opened with the right one of several keys; what cannot be says why."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from airflow_imap_provider.mail.raw import mail_from_raw

from .people import (
    BOSS,
    CLERK,
    CONTENT,
    CURVED,
    ISSUER,
    Person,
    encrypted,
    looked_at,
    mail,
    openssl,
    person,
    signed,
    write,
)

AGREED = person("Agreed", ISSUER, addresses=["agreed@example.com"], kind="p384")
STRANGER = person("Stranger", ISSUER, kind="rsa2048")


def text(raw: bytes, *people: Person) -> str:
    opened = looked_at(raw, *people)
    assert (opened.outcome.encryption, opened.outcome.problem, opened.readable) == ("opened", "", True)
    return (mail_from_raw(opened.raw).text or "").strip()


@pytest.mark.parametrize(
    ("to", "options"),
    [
        *((CLERK, (cipher,)) for cipher in ("-aes128", "-aes192", "-aes256", "-des3")),
        *((CLERK, (cipher,)) for cipher in ("-aes-128-gcm", "-aes-256-gcm")),
        (CLERK, ("-aes256", "-keyid")),
        (CLERK, ("-aes256", "-stream")),
        (CURVED, ("-aes256",)),
        (AGREED, ("-aes128",)),
        (AGREED, ("-aes-256-gcm", "-keyid")),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else part.name,
)
def test_what_openssl_encrypts_is_opened(tmp_path: Path, to: Person, options: Sequence[str]) -> None:
    assert text(mail(encrypted(tmp_path, *options, to=[to])), BOSS, to) == "Pay invoice 4711, please."


@pytest.mark.parametrize(
    "options",
    [
        ("rsa_padding_mode:oaep",),
        ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256"),
        ("rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha256"),
        ("rsa_padding_mode:oaep", "rsa_oaep_label:6c6162656c"),
        ("ecdh_kdf_md:sha256",),
        ("ecdh_kdf_md:sha512",),
    ],
    ids=" ".join,
)
def test_the_other_ways_to_hand_over_the_key_are_known(tmp_path: Path, options: Sequence[str]) -> None:
    to = CLERK if options[0].startswith("rsa") else CURVED
    chosen = [word for option in options for word in ("-keyopt", option)]
    arguments = ("cms", "-encrypt", "-aes256", "-recip", write(tmp_path, to)[0], *chosen)
    assert text(mail(openssl(tmp_path, *arguments, content=CONTENT)), to) == "Pay invoice 4711, please."


def test_of_several_recipients_and_keys_the_right_ones_are_found(tmp_path: Path) -> None:
    raw = mail(encrypted(tmp_path, "-aes256", to=[STRANGER, CURVED, CLERK]))
    for mine in ([CLERK], [BOSS, CLERK], [BOSS, AGREED, CURVED]):
        assert text(raw, *mine) == "Pay invoice 4711, please."


def test_a_signature_within_is_checked(tmp_path: Path) -> None:
    opened = looked_at(mail(encrypted(tmp_path, content=signed(tmp_path))), CLERK)
    assert (opened.outcome.encryption, opened.outcome.signature) == ("opened", "valid")


@pytest.mark.parametrize(
    ("mine", "said"), [([], "has no S/MIME key"), ([BOSS, AGREED], "for none of the connection's")]
)
def test_without_the_key_the_mail_is_left_closed_and_says_so(tmp_path: Path, mine: list[Person], said: str) -> None:
    raw = mail(encrypted(tmp_path))
    opened = looked_at(raw, *mine)
    assert (opened.outcome.encryption, opened.readable, opened.raw) == ("no-key", False, raw)
    assert said in opened.outcome.problem


@pytest.mark.parametrize("options", [("-aes256",), ("-aes-256-gcm",)])
def test_a_changed_content_is_damaged_or_rubbish_and_never_an_exception(tmp_path: Path, options: Sequence[str]) -> None:
    raw = mail(encrypted(tmp_path, *options))
    body = raw.index(b"\r\n\r\n") + 4
    data = base64.b64decode(raw[body:])
    for at in (-3, -20, len(data) - 40):
        changed = bytearray(data)
        changed[at] ^= 1
        outcome = looked_at(raw[:body] + base64.encodebytes(bytes(changed)), CLERK).outcome
        assert outcome.encryption == "damaged" or "gcm" not in options[0]


def test_an_unknown_cipher_is_not_supported(tmp_path: Path) -> None:
    outcome = looked_at(mail(encrypted(tmp_path, "-camellia256")), CLERK).outcome
    assert outcome.encryption == "unsupported"
    assert "not known here" in outcome.problem


def test_compressed_content_is_expanded(tmp_path: Path) -> None:
    # As RFC 3274 has it; OpenSSL of Debian is built without zlib.
    import zlib

    from asn1crypto import cms

    content = {"version": "v0", "compression_algorithm": {"algorithm": "zlib"}}
    content["encap_content_info"] = {"content_type": "data", "content": zlib.compress(CONTENT)}
    data = cms.ContentInfo({"content_type": "compressed_data", "content": cms.CompressedData(content)}).dump()
    head = (
        b"Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    opened = looked_at(mail(head + base64.encodebytes(data)))
    assert (mail_from_raw(opened.raw).text or "").strip() == "Pay invoice 4711, please."
    assert not re.search("4711", repr(opened))
