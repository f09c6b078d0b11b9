"""One client certificate with its key, and every form of it that people paste or point to."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from tests.servers.certificates import ServerCertificate

PASSPHRASE = "0pen sesame ü"


@dataclass(frozen=True)
class Material:
    """One client certificate, and everything that can be made of it."""

    files: ServerCertificate
    issuer: str

    @property
    def certificate(self) -> str:
        return self.files.pem

    @property
    def key(self) -> str:
        return self.files.key.read_text()

    def encrypted(self, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
        return self._private.private_bytes(Encoding.PEM, form, BestAvailableEncryption(PASSPHRASE.encode())).decode()

    def traditional(self) -> str:
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

    def pkcs12(self, passphrase: str = "", *, key: bool = True) -> bytes:
        encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        certificate = x509.load_pem_x509_certificate(self.certificate.encode())
        issuer = x509.load_pem_x509_certificate(self.issuer.encode())
        return pkcs12.serialize_key_and_certificates(
            b"mine", self._private if key else None, certificate, [issuer], encryption
        )

    @property
    def _private(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        key = load_pem_private_key(self.key.encode(), None)
        assert isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
        return key


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
