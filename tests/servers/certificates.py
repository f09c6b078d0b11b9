"""Certificates for the test servers: an own authority, and server certificates that are right or wrong on purpose.

Everything is made in memory with ``cryptography`` and written as PEM below a folder that the caller owns. Nothing here
is for production: the keys are small in effort and short in life.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class ServerCertificate:
    """A certificate with its key, on disk as servers want it."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> str:
        return self.certificate.read_text()


class Authority:
    """A certificate authority that issues server certificates below *folder*."""

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        self._certificate = (
            _builder(subject, subject, self._key, days=(-1, 30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / f"{name.replace(' ', '-').lower()}.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def pem(self) -> str:
        return self.path.read_text()

    def issue(
        self,
        label: str,
        *,
        names: tuple[str, ...] = ("localhost",),
        addresses: tuple[str, ...] = ("127.0.0.1", "::1"),
        days: tuple[int, int] = (-1, 30),
        strict: bool = True,
        rsa_key: bool = False,
    ) -> ServerCertificate:
        """Issue a server certificate.

        :param label: its file name.
        :param names: DNS names that it is for.
        :param addresses: IP addresses that it is for.
        :param days: begin and end of its validity, in days from now.
        :param strict: ``False`` leaves out what VERIFY_X509_STRICT demands, as old private authorities do.
        :param rsa_key: an RSA key, as TLS 1.0 and 1.1 servers have one.
        """
        key = _new_key(rsa_key=rsa_key)
        issuer = self._certificate.subject
        builder = _builder(_name(label), issuer, key, days=days).add_extension(_alternatives(names, addresses), False)
        if strict:
            builder = (
                builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_key_usage(authority=False), critical=True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
                )
            )
        return _write(self._folder, label, builder.sign(self._key, hashes.SHA256()), key)

    def issue_client(self, name: str, *, days: tuple[int, int] = (-1, 30), key_size: int = 0) -> ServerCertificate:
        """Issue a certificate that a client shows.

        :param name: whom it names.
        :param key_size: bits of an RSA key; an elliptic one when left out.
        """
        key = rsa.generate_private_key(65537, key_size) if key_size else _new_key(rsa_key=False)
        builder = (
            _builder(_name(name), self._certificate.subject, key, days=days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        return _write(self._folder, name, builder.sign(self._key, hashes.SHA256()), key)


def self_signed(folder: Path, label: str, *, names: tuple[str, ...] = ("localhost",)) -> ServerCertificate:
    """A certificate that nobody vouches for."""
    folder.mkdir(parents=True, exist_ok=True)
    key = _new_key(rsa_key=False)
    subject = _name(label)
    builder = _builder(subject, subject, key, days=(-1, 30)).add_extension(_alternatives(names, ("127.0.0.1",)), False)
    return _write(folder, label, builder.sign(key, hashes.SHA256()), key)


def odd_certificate(folder: Path, change: str) -> ServerCertificate:
    """A certificate that breaks the rules in a way that OpenSSL lets pass.

    :param change: ``version``, ``extension`` (one stands twice in it) or ``names`` (of a kind that nobody has).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("odd")
    builder = _builder(subject, subject, key, days=(-1, 30))
    extensions = {
        "version": [],
        "extension": [("1.2.3.4", b"\x04\x00"), ("1.2.3.5", b"\x04\x00")],
        "names": [("2.5.29.17", bytes.fromhex("3006a504a1020c00"))],  # ediPartyName
    }[change]
    for identifier, value in extensions:
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), value)
        builder = builder.add_extension(odd, critical=False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    if change == "version":
        der = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1)
    if change == "extension":
        der = der.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")
    written = ServerCertificate(folder / "odd.crt", folder / "odd.key")
    written.certificate.write_text(ssl.DER_cert_to_PEM_cert(der))
    written.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return written


def _new_key(*, rsa_key: bool) -> PrivateKey:
    return rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, *, days: tuple[int, int]
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )


def _alternatives(names: tuple[str, ...], addresses: tuple[str, ...]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [x509.DNSName(name) for name in names]
        + [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(folder: Path, label: str, certificate: x509.Certificate, key: PrivateKey) -> ServerCertificate:
    written = ServerCertificate(folder / f"{label}.crt", folder / f"{label}.key")
    written.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    written.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    written.key.chmod(0o600)
    return written
