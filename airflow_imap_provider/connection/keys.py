"""Private keys with their certificates, as fields of a connection hold them: PEM or PKCS#12, path or text, encrypted or
not.

What the keys are for is not known here; each use says how its fields are called. Import it when a session is opened,
not when settings are parsed: it needs cryptography, and opens files on the machine that connects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from airflow_imap_provider.connection.files import look
from airflow_imap_provider.connection.material import is_path
from airflow_imap_provider.connection.material import pkcs12 as packed
from airflow_imap_provider.connection.settings import SmimeSettings
from airflow_imap_provider.connection.shown_path import shown_path
from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.errors import SettingsError

__all__ = ["MAX_FILE_BYTES", "Identity", "KeyFields", "is_bare_key", "key_file", "public_bytes", "smime_identities"]

MAX_FILE_BYTES = 1024 * 1024
"""Of a certificate's or key's file: a hundred times what any has, and no gigabytes of a path that was mistyped."""

IDENTITIES_KEPT = 64
"""Opened S/MIME keys kept: opening an encrypted one takes a tenth of a second. As many as TLS contexts are kept."""

_FORMS = "Give PEM (a path on this machine, or the text), or PKCS#12 as the private key (a path, or base64)."
_DER = b"\x30"
_KEY_BLOCK = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_CERTIFICATE_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def key_file(path: str) -> tuple[bytes, str]:
    """What a file holds, at most a byte more than any of its kind, or why it cannot be read.

    The reason is returned and not raised, so that the caller's error has no foreign exception attached: that names the
    file, which may be a secret.
    """
    _, problem = look(path)
    if problem:
        return b"", problem
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1), ""
    except OSError as exc:
        return b"", exc.strerror or type(exc).__name__


@dataclass(frozen=True)
class KeyFields:
    """The fields that hold a key, for errors.

    :param certificate: the certificate's field as people see it, :param key: the key's, :param passphrase: the key's
        passphrase's.
    """

    certificate: str
    key: str
    passphrase: str

    def unreadable(self, part: str, problem: str) -> SettingsError:
        """The error for a part that cannot be used.

        :param part: ``certificate``, ``key`` or ``passphrase``.
        :param problem: one sentence without a secret.
        """
        return SettingsError(f"Encryption, {getattr(self, part)}: {problem}", stage="settings", remedy=_FORMS)

    def content(self, part: str, material: str) -> bytes:
        """What a field says, or the file that it names; PKCS#12 as bytes."""
        if (data := packed(material)) is not None:
            return data
        if not is_path(material):
            return material.encode("utf-8", "replace")
        content, problem = key_file(material)
        if problem:
            raise self.unreadable(part, f"{shown_path(material)} cannot be read ({problem}).")
        if len(content) > MAX_FILE_BYTES:
            raise self.unreadable(part, f"{shown_path(material)} is larger than any certificate or key.")
        return content

    def is_pkcs12(self, content: bytes) -> bool:
        """Whether this is PKCS#12 and not PEM."""
        return content.startswith(_DER)

    def key_blocks(self, *contents: bytes) -> list[bytes]:
        """The private keys in PEM text, still closed."""
        return [found.group() for content in contents for found in _KEY_BLOCK.finditer(content)]

    def certificates(self, content: bytes, part: str = "certificate") -> list[x509.Certificate]:
        """The certificates in PEM text."""
        try:
            return [x509.load_pem_x509_certificate(found.group()) for found in _CERTIFICATE_BLOCK.finditer(content)]
        except UNREADABLE:
            raise self.unreadable(part, "it is damaged, or of a kind that is not known here.") from None

    def open_pkcs12(self, data: bytes, passphrase: bytes | None) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
        """The private key in PKCS#12, and the certificates, its own first."""
        try:
            bundle = pkcs12.load_pkcs12(data, passphrase)
        except UnsupportedAlgorithm:
            raise self.unreadable("key", "the PKCS#12 is encrypted in a way that is not known here.") from None
        except ValueError:
            if is_bare_key(data, passphrase):
                raise self.unreadable(
                    "key", "it is a key in DER: write it as PEM by openssl pkey -inform DER -in joe.key -out joe.pem."
                ) from None
            problem = "it does not open the PKCS#12 (or that is damaged)." if passphrase else "the PKCS#12 needs one."
            raise self.unreadable("passphrase", problem) from None
        except UNREADABLE:
            raise self.unreadable("key", "a certificate in the PKCS#12 is of a kind that is not known here.") from None
        if bundle.key is None or bundle.cert is None:
            raise self.unreadable("key", "the PKCS#12 has no private key with a certificate in it.")
        return bundle.key, [entry.certificate for entry in (bundle.cert, *bundle.additional_certs)]

    def open_pem(self, block: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
        """The private key in a PEM block."""
        try:
            return load_pem_private_key(block, passphrase)
        except UnsupportedAlgorithm:
            raise self.unreadable("key", "it is of a kind, or encrypted in a way, that is not known here.") from None
        except TypeError:
            # The library's way to say that there is a passphrase too many or too few.
            too_many = "the key is not encrypted: empty this field."
            problem = too_many if passphrase else "the key is encrypted and needs one."
            raise self.unreadable("passphrase", problem) from None
        except ValueError:
            if passphrase and b"ENCRYPTED" in block:
                raise self.unreadable("passphrase", "it does not open the key (or that is damaged).") from None
            raise self.unreadable("key", "it is damaged.") from None


def is_bare_key(data: bytes, passphrase: bytes | None) -> bool:
    """Whether this is a private key in DER, which begins like PKCS#12."""
    try:
        load_der_private_key(data, passphrase)
    except TypeError:
        return True  # a passphrase too many or too few: it was understood so far
    except UNREADABLE:
        return False
    return True


def public_bytes(key: object) -> bytes:
    """A public key as bytes that are equal for equal keys."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


# -- S/MIME -----------------------------------------------------------------------------------------------------------

_SMIME = KeyFields(
    certificate="S/MIME key (smime_private_key)",
    key="S/MIME key (smime_private_key)",
    passphrase="S/MIME key's passphrase (smime_private_key_passphrase)",  # noqa: S106 - the name of a field
)


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key, with which what was encrypted for the certificate can be opened."""

    certificate: x509.Certificate
    key: PrivateKeyTypes

    def __repr__(self) -> str:
        return f"<Identity {self.certificate.subject.rfc4514_string()!r}>"


def smime_identities(settings: SmimeSettings) -> tuple[Identity, ...]:
    """The keys that open encrypted mails, opened once; again when the file that they are in has changed.

    In PEM there may be several: each certificate is put to the key that it belongs to, one without a key is passed
    over. A passphrase is for all keys that are encrypted.

    :returns: none if the connection has no S/MIME key.
    :raises SettingsError: it cannot be read, the passphrase does not open it, or a key has no certificate.
    """
    if not settings.private_key:
        return ()
    content = _SMIME.content("key", settings.private_key)
    return _identities(content, settings.passphrase)


@lru_cache(maxsize=IDENTITIES_KEPT)
def _identities(content: bytes, passphrase: str) -> tuple[Identity, ...]:
    secret = passphrase.encode() or None
    if _SMIME.is_pkcs12(content):
        key, certificates = _SMIME.open_pkcs12(content, secret)
        return (Identity(certificates[0], key),)
    blocks = _SMIME.key_blocks(content)
    if not blocks:
        raise _SMIME.unreadable("key", "there is no private key in it.")
    by_key: dict[bytes, x509.Certificate] = {}
    identities = []
    for certificate in _SMIME.certificates(content, "key"):
        try:
            by_key[public_bytes(certificate.public_key())] = certificate
        except UNREADABLE:
            continue  # an issuer's key of an odd kind: none that opens mail
    encrypted = [b"ENCRYPTED" in block for block in blocks]
    for block, closed in zip(blocks, encrypted, strict=True):
        # Of several keys some may be encrypted; of none the passphrase is a mistake, which open_pem says.
        private = _SMIME.open_pem(block, secret if closed or not any(encrypted) else None)
        own = by_key.get(public_bytes(private.public_key()))
        if own is None:
            raise _SMIME.unreadable("key", "a private key has no certificate in it that belongs to the key.")
        identities.append(Identity(own, private))
    return tuple(identities)
