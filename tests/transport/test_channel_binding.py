from __future__ import annotations

import hashlib
import socket
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from airflow_imap_provider.transport.channel_binding import binding_of, end_point


def certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | hashes.SHA3_256 | None,
    pss: padding.PSS | None = None,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
    return builder.sign(key, algorithm, rsa_padding=pss).public_bytes(Encoding.DER)


@pytest.mark.parametrize("algorithm", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_hash_of_the_certificates_signature_is_taken_of_it(
    algorithm: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512,
) -> None:
    der = certificate(ec.generate_private_key(ec.SECP256R1()), algorithm)
    assert end_point(der) == hashlib.new(algorithm.name, der).digest()


def test_rarer_signatures_have_a_hash_too() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH)
    assert len(end_point(certificate(rsa_key, hashes.SHA384(), pss)) or b"") == 48
    assert len(end_point(certificate(ec.generate_private_key(ec.SECP256R1()), hashes.SHA3_256())) or b"") == 32


def test_a_signature_without_a_hash_gives_nothing_to_bind_to() -> None:
    assert end_point(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None
    assert end_point(b"no certificate") is None


def test_without_encryption_there_is_nothing_to_bind_to() -> None:
    with socket.socket() as sock:
        assert binding_of(sock) is None
