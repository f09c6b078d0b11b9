"""Certificates and keys of people, made in the test, and OpenSSL's command line as the mailer that they use."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from airflow_imap_provider.connection.keys import Identity
from airflow_imap_provider.mail.smime.opening import Opened, open_mail
from airflow_imap_provider.mail.smime.verifying import Trust
from tests.servers.client_material import PASSPHRASE

NOW = datetime.now(timezone.utc)
SENDER = "boss@example.com"
CONTENT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nPay invoice 4711, please.\r\n"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Person:
    """Somebody with a certificate; an authority too."""

    name: str
    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def identity(self) -> Identity:
        return Identity(self.certificate, self.key)


@lru_cache(maxsize=64)
def new_key(kind: str, number: int = 0) -> Key:
    """A key of a kind such as ``rsa2048``, the same one each time: RSA keys take long to make."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def person(
    name: str,
    issuer: Person | None = None,
    *,
    addresses: Sequence[str] = (),
    kind: str = "p256",
    days: tuple[float, float] = (-1, 30),
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
    authority: bool = False,
    in_subject: bool = False,
    signs: bool = True,
    more: Sequence[x509.ExtensionType] = (),
) -> Person:
    """Issue a certificate.

    :param addresses: the mail addresses that it names.
    :param days: begin and end of its validity, in days from now.
    :param authority: whether it may issue others.
    :param in_subject: name the address in the subject, as old authorities do.
    :param more: further extensions.
    """
    key = new_key(kind, hash(name))
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if in_subject:
        names += [x509.NameAttribute(NameOID.EMAIL_ADDRESS, each) for each in addresses]
    subject = x509.Name(names)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    usage = dict.fromkeys(("data_encipherment", "encipher_only", "decipher_only", "content_commitment"), False)
    builder = builder.add_extension(
        x509.KeyUsage(
            digital_signature=signs and not authority,
            key_encipherment=kind.startswith("rsa"),
            key_agreement=kind.startswith("p"),
            key_cert_sign=authority,
            crl_sign=authority,
            **usage,
        ),
        critical=True,
    )
    if issuer:
        public = issuer.key.public_key()
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    if addresses and not in_subject:
        alternatives = x509.SubjectAlternativeName([x509.RFC822Name(each) for each in addresses])
        builder = builder.add_extension(alternatives, critical=False)
    if purposes and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.NameConstraints))
    signing = issuer.key if issuer else key
    return Person(name, builder.sign(signing, hashes.SHA256()), key)


ROOT = person("Root", authority=True, days=(-60, 60))
ISSUER = person("Issuer", ROOT, authority=True, days=(-60, 60))
BOSS = person("Boss", ISSUER, addresses=[SENDER], kind="rsa2048")
CLERK = person("Clerk", ISSUER, addresses=["clerk@example.com"], kind="rsa2048")
CURVED = person("Curved", ISSUER, addresses=[SENDER], kind="p256")


def closed(who: Person) -> str:
    """Somebody's key, encrypted with the passphrase."""
    encryption = BestAvailableEncryption(PASSPHRASE.encode())
    return who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def packed(who: Person) -> bytes:
    """Somebody's certificate and key as PKCS#12, encrypted with the passphrase."""
    encryption = BestAvailableEncryption(PASSPHRASE.encode())
    return pkcs12.serialize_key_and_certificates(b"me", who.key, who.certificate, [ISSUER.certificate], encryption)


def openssl(folder: Path, *arguments: str, content: bytes) -> bytes:
    """Run OpenSSL on a content and return what it writes."""
    run = subprocess.run(
        ["openssl", *arguments], cwd=folder, input=content, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def write(folder: Path, who: Person) -> tuple[str, str]:
    """Write somebody's certificate and key and return the files' names."""
    names = f"{who.name}.crt", f"{who.name}.key"
    (folder / names[0]).write_text(who.pem)
    (folder / names[1]).write_text(who.key_pem)
    return names


def signed(
    folder: Path,
    who: Person = BOSS,
    *options: str,
    content: bytes = CONTENT,
    others: Sequence[Person] = (ISSUER,),
    opaque: bool = False,
) -> bytes:
    """A content signed by OpenSSL, as an entity of its own."""
    certificate, key = write(folder, who)
    (folder / "others.pem").write_text("".join(each.pem for each in others))
    more = ["-certfile", "others.pem"] if others else []
    wrapped = ["-nodetach"] if opaque else []
    arguments = ("cms", "-sign", "-signer", certificate, "-inkey", key, *more, *wrapped, *options)
    return openssl(folder, *arguments, content=content)


def encrypted(folder: Path, *options: str, content: bytes = CONTENT, to: Sequence[Person] = (CLERK,)) -> bytes:
    """A content encrypted by OpenSSL, as an entity of its own."""
    recipients = [write(folder, each)[0] for each in to]
    return openssl(folder, "cms", "-encrypt", *options, *recipients, content=content)


def mail(entity: bytes, sender: str = SENDER) -> bytes:
    """An entity with the header of a mail, with the line ends that mail has."""
    head = f"From: The Boss <{sender}>\r\nTo: clerk@example.com\r\nSubject: Hello\r\n"
    return head.encode() + entity.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def looked_at(
    raw: bytes, *people: Person, senders: Sequence[str] = (SENDER,), at: datetime = NOW, root: Person = ROOT
) -> Opened:
    """Open a mail with the keys of people, who trust the root."""
    return open_mail(
        raw, identities=[each.identity for each in people], trust=Trust([root.der], frozenset(senders), at)
    )
