"""Signatures: those that OpenSSL makes are valid, and each way to break one is told as what it is."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from airflow_imap_provider.mail.raw import mail_from_raw
from airflow_imap_provider.mail.smime import opening, verifying
from airflow_imap_provider.transport.authorities import trusted_issuers

from .people import (
    BOSS,
    CLERK,
    CONTENT,
    CURVED,
    ISSUER,
    NOW,
    ROOT,
    SENDER,
    Person,
    encrypted,
    looked_at,
    mail,
    person,
    signed,
)


def state(raw: bytes, **changes: object) -> tuple[str, str]:
    outcome = looked_at(raw, **changes).outcome  # type: ignore[arg-type]
    best = outcome.best
    return outcome.signature, best.reason if best else ""


@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
@pytest.mark.parametrize(
    ("who", "options"),
    [
        (BOSS, ()),
        (BOSS, ("-md", "sha512")),
        (BOSS, ("-keyopt", "rsa_padding_mode:pss")),
        (BOSS, ("-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:20", "-md", "sha384")),
        (BOSS, ("-keyid",)),
        (BOSS, ("-noattr",)),
        (BOSS, ("-stream",)),
        (BOSS, ("-stream", "-indef")),
        (CURVED, ()),
        (CURVED, ("-md", "sha384")),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else part.name,
)
def test_what_openssl_signs_is_valid(tmp_path: Path, who: Person, options: Sequence[str], opaque: bool) -> None:
    opened = looked_at(mail(signed(tmp_path, who, *options, opaque=opaque)))
    [signature] = opened.outcome.signatures
    assert (signature.state, signature.reason) == ("valid", "")
    assert opened.outcome.signers == (SENDER,)
    assert (signature.subject, signature.issuer) == (f"CN={who.name}", "CN=Issuer")
    assert (signature.signed_at is None) == ("-noattr" in options)
    assert (mail_from_raw(opened.raw).text or "").strip() == "Pay invoice 4711, please."
    assert mail_from_raw(opened.raw).subject == "Hello"


@pytest.mark.parametrize("command", ["smime", "cms"])
def test_both_of_openssls_commands_are_understood(tmp_path: Path, command: str) -> None:
    from .people import openssl, write

    certificate, key = write(tmp_path, BOSS)
    (tmp_path / "issuer.pem").write_text(ISSUER.pem)
    arguments = (command, "-sign", "-signer", certificate, "-inkey", key, "-certfile", "issuer.pem")
    assert state(mail(openssl(tmp_path, *arguments, content=CONTENT))) == ("valid", "")


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"Gr\xc3\xbc\xc3\x9fe \r\n\t \r\n",
        b"Content-Type: text/plain; charset=koi8-r\r\n\r\n\xf0\xd2\xc9\xd7\xc5\xd4  \r\n\r\n\r\n",
        b"Content-Type: text/plain\n\nline feeds alone \n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\n\r\nmore\r\n--x--\r\n",
        b"\r\nno header\r\n",
        b"Content-Type: text/plain\r\n\r\n" + b"long " * 100_000,
    ],
    ids=["8bit", "koi8-r", "line feeds", "multipart", "no header", "long line"],
)
@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
def test_every_content_is_taken_to_the_byte(tmp_path: Path, content: bytes, opaque: bool) -> None:
    raw = mail(signed(tmp_path, content=content, opaque=opaque))
    assert state(raw) == ("valid", "")
    # As a file on a disk has it.
    assert state(raw.replace(b"\r\n", b"\n")) == ("valid", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"4711", b"4712"), (b"please.", b"please. "), (b"text/plain", b"text/html"), (b"Pay", b"Pay\r\n\r\n")],
)
@pytest.mark.parametrize("options", [(), ("-noattr",)], ids=["attributes", "no attributes"])
def test_a_changed_text_is_noticed(tmp_path: Path, old: bytes, new: bytes, options: Sequence[str]) -> None:
    raw = mail(signed(tmp_path, BOSS, *options))
    assert raw.count(old) == 1
    opened = looked_at(raw.replace(old, new))
    assert opened.outcome.signature == "invalid"
    assert "changed" in opened.outcome.signatures[0].reason
    assert opened.readable  # to be read all the same


def with_signature(raw: bytes, change: tuple[bytes, bytes]) -> bytes:
    """The mail with bytes of its detached signature replaced."""
    found = re.search(rb'filename="smime.p7s"\r\n\r\n(.*?)\r\n\r\n--', raw, re.DOTALL)
    assert found is not None
    data = base64.b64decode(found[1])
    assert change[0] in data
    return raw.replace(found[1], base64.encodebytes(data.replace(*change)).strip().replace(b"\n", b"\r\n"))


def test_changed_attributes_are_noticed(tmp_path: Path) -> None:
    year = f"{NOW:%y%m}".encode()
    raw = with_signature(mail(signed(tmp_path)), (b"\x17\x0d" + year, b"\x17\x0d" + b"2001"))
    assert state(raw) == ("invalid", "the signature does not fit: it, or what was signed, was changed")


def test_an_unknown_algorithm_is_not_supported(tmp_path: Path) -> None:
    ecdsa_with_sha256, unknown = bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d040363")
    found, why = state(with_signature(mail(signed(tmp_path, CURVED)), (ecdsa_with_sha256, unknown)))
    assert (found, "is not known here" in why) == ("unsupported", True)


def test_attributes_cannot_be_passed_off_as_a_content(tmp_path: Path) -> None:
    raw = mail(signed(tmp_path, BOSS, "-noattr", "-binary", content=b"1: a content\r\n\r\nthat begins like a set\r\n"))
    assert state(raw)[0] == "invalid"


@pytest.mark.parametrize(
    ("who", "expected", "reason"),
    [
        (person("Mallory", addresses=[SENDER]), "untrusted", "no trusted issuer"),
        (person("Other", person("Foreign", authority=True), addresses=[SENDER]), "untrusted", "no trusted issuer"),
        (
            person("Late", ISSUER, addresses=[SENDER], days=(-30, -2)),
            "expired",
            "the signer's certificate was not valid",
        ),
        (
            person("Early", ISSUER, addresses=[SENDER], days=(2, 30)),
            "expired",
            "the signer's certificate was not valid",
        ),
        (CLERK, "other-sender", "names clerk@example.com"),
        (person("Nobody", ISSUER), "other-sender", "names nobody"),
        (
            person("Web", ISSUER, addresses=[SENDER], purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
            "untrusted",
            "not for mail",
        ),
        (person("Seal", ISSUER, addresses=[SENDER], signs=False), "untrusted", "not for signatures"),
        (person("Tiny", ISSUER, addresses=[SENDER], kind="rsa1024"), "weak", "1024 bits"),
        (person("Climber", BOSS, addresses=[SENDER]), "untrusted", "no trusted issuer"),
        (
            person("Gone", person("Foreign", authority=True), addresses=[SENDER], days=(-9, -2)),
            "untrusted",
            "no trusted",
        ),
    ],
    ids=lambda part: part.name if isinstance(part, Person) else "",
)
def test_a_certificate_is_not_believed(tmp_path: Path, who: Person, expected: str, reason: str) -> None:
    found, why = state(mail(signed(tmp_path, who, others=[ISSUER, BOSS])))
    assert (found, reason in why) == (expected, True), why


def test_an_issuer_that_has_expired_is_told(tmp_path: Path) -> None:
    old = person("Old Issuer", ROOT, authority=True, days=(-30, -1))
    who = person("Heir", old, addresses=[SENDER], days=(-20, 30))
    assert state(mail(signed(tmp_path, who, others=[old])))[0] == "expired"


def test_a_certificate_counts_as_it_was_when_the_mail_was_received(tmp_path: Path) -> None:
    late = person("Late", ISSUER, addresses=[SENDER], days=(-0.9, -0.1))
    raw = mail(signed(tmp_path, late))
    assert state(raw)[0] == "expired"
    assert state(raw, at=NOW - timedelta(hours=12)) == ("valid", "")


def test_an_address_in_the_subject_counts_where_there_is_no_other(tmp_path: Path) -> None:
    who = person("Old", ISSUER, addresses=[SENDER], in_subject=True)
    assert state(mail(signed(tmp_path, who))) == ("valid", "")


def test_every_author_must_be_named(tmp_path: Path) -> None:
    raw = mail(signed(tmp_path))
    assert state(raw, senders=["BOSS@Example.com"])[0] == "valid"
    assert state(raw, senders=[SENDER, "thief@example.net"])[0] == "other-sender"
    assert state(raw, senders=[])[0] == "other-sender"


@pytest.mark.parametrize(
    ("options", "expected"),
    [(("-md", "sha1"), "weak"), (("-md", "md5"), "weak"), (("-nocerts",), "untrusted")],
)
def test_weak_digests_and_missing_certificates_are_told(tmp_path: Path, options: Sequence[str], expected: str) -> None:
    assert state(mail(signed(tmp_path, BOSS, *options, others=())))[0] == expected


def test_a_missing_intermediate_is_no_chain(tmp_path: Path) -> None:
    assert state(mail(signed(tmp_path, others=())))[0] == "untrusted"


def test_of_several_signers_the_best_counts(tmp_path: Path) -> None:
    once = signed(tmp_path, CLERK, opaque=True)
    twice = mail(signed(tmp_path, content=once))
    opened = looked_at(twice)
    assert [each.state for each in opened.outcome.signatures] == ["valid", "other-sender"]
    assert opened.outcome.signers == (SENDER,)


def test_a_signed_part_among_others_does_not_sign_the_mail(tmp_path: Path) -> None:
    part = signed(tmp_path).replace(b"\r\n", b"\n").replace(b"MIME-Version: 1.0\n", b"").replace(b"\n", b"\r\n")
    raw = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nPay 9999 to me.\r\n--o\r\n"
        + part
        + b"\r\n--o--\r\n"
    )
    found, why = state(mail(raw))
    assert (found, "only a part" in why) == ("partial", True)


def test_another_part_beside_the_signature_makes_it_invalid(tmp_path: Path) -> None:
    raw = mail(signed(tmp_path))
    boundary = re.search(rb'boundary="(.*?)"', raw)
    assert boundary is not None
    first = raw.index(b"--" + boundary[1])
    forged = raw[:first] + b"--" + boundary[1] + b"\r\n\r\nPay 9999 to me.\r\n" + raw[first:]
    assert state(forged) == ("invalid", "a signed mail has two parts, this one has 3")


def test_the_inner_header_does_not_become_the_mails(tmp_path: Path) -> None:
    content = b"From: king@example.com\r\nSubject: other\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    inner = mail_from_raw(looked_at(mail(signed(tmp_path, content=content, opaque=True))).raw)
    assert ([each.address for each in inner.from_], inner.subject) == ([SENDER], "Hello")


@pytest.mark.parametrize("junk", [b"", b"!!!!", b"AAAA", b"MIAGCSqGSIb3DQEHAqCA", b"\xff" * 500, b"MIA" * 50_000])
@pytest.mark.parametrize("kind", ["signed-data", "enveloped-data"])
def test_junk_is_an_outcome(junk: bytes, kind: str) -> None:
    head = f"Content-Type: application/pkcs7-mime; smime-type={kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    outcome = looked_at(mail(head.encode() + junk), BOSS).outcome
    assert (outcome.signature, outcome.encryption) in [("invalid", ""), ("", "damaged"), ("", "unsupported")]
    assert outcome.problem


def test_layers_end_somewhere(tmp_path: Path) -> None:
    content = CONTENT
    for _ in range(opening.LAYERS_LIMIT + 2):
        content = signed(tmp_path, CURVED, content=content, opaque=True)
    opened = looked_at(mail(content))
    assert len(opened.outcome.signatures) == opening.LAYERS_LIMIT
    assert (opened.readable, "more than" in opened.outcome.problem) == (False, True)


def test_fifty_multiparts_one_in_the_other_are_an_outcome(tmp_path: Path) -> None:
    content = CONTENT
    for number in range(50):
        head = f'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=b{number}\r\n\r\n'
        content = (
            f"{head}--b{number}\r\n".encode()
            + content
            + f"\r\n--b{number}\r\nContent-Type: application/pkcs7-signature\r\n\r\nAA\r\n--b{number}--\r\n".encode()
        )
    assert state(mail(content))[0] == "invalid"


def test_signed_encrypted_and_signed_again_is_opened_to_the_end(tmp_path: Path) -> None:
    inner = signed(tmp_path)
    triple = signed(tmp_path, CURVED, content=encrypted(tmp_path, content=inner), opaque=True)
    opened = looked_at(mail(triple), CLERK)
    assert [each.state for each in opened.outcome.signatures] == ["valid", "valid"]
    assert opened.outcome.encryption == "opened"
    assert (mail_from_raw(opened.raw).text or "").strip() == "Pay invoice 4711, please."


def test_only_so_many_signers_are_looked_at() -> None:
    assert verifying.SIGNERS_LIMIT <= opening.SIGNATURES_LIMIT


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def with_many(certificates: bytes = b"", signers: bytes = b"", content: bytes = b"\x04\x02hi") -> bytes:
    """SignedData with a set of whatever is given."""
    body = b"\x02\x01\x01" + element(0x31, b"") + element(0x30, DATA + element(0xA0, content))
    body += element(0xA0, certificates) + element(0x31, signers)
    return element(0x30, SIGNED_DATA + element(0xA0, element(0x30, body)))


SIGNED_DATA, DATA = bytes.fromhex("06092a864886f70d010702"), bytes.fromhex("06092a864886f70d010701")
MANY = 300_000


@pytest.mark.parametrize(
    "data",
    [
        with_many(certificates=b"\x30\x00" * MANY),
        with_many(signers=b"\x30\x00" * MANY),
        with_many(content=b"\x24\x80" + b"\x04\x00" * MANY + b"\0\0"),
        with_many(certificates=b"\x30\x80" * MANY),
    ],
    ids=["certificates", "signers", "pieces", "levels"],
)
def test_data_of_countless_elements_is_not_read(data: bytes) -> None:
    head = b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    found, why = state(mail(head + base64.encodebytes(data)))
    assert (found, "more than 50000 elements" in why) == ("invalid", True)


def test_a_long_stream_has_few_enough(tmp_path: Path) -> None:
    content = b"Content-Type: text/plain\r\n\r\n" + b"0123456789abcdef\r\n" * 400_000
    assert state(mail(signed(tmp_path, BOSS, "-stream", content=content, opaque=True))) == ("valid", "")


def test_the_systems_issuers_can_all_be_used_beside_ones_own(tmp_path: Path) -> None:
    trust = verifying.Trust((*trusted_issuers(""), b"junk", ROOT.der), frozenset([SENDER]), NOW)
    opened = opening.open_mail(mail(signed(tmp_path)), identities=(), trust=trust)
    assert opened.outcome.signature == "valid"
