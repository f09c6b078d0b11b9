"""The client's certificate: from PEM or PKCS#12, path or text, encrypted or not, into a TLS context.

OpenSSL reads certificates for a context from a file only. It gets one in memory where the system has that, else a
temporary one that is removed at once; either way the key in it is encrypted with a passphrase that nobody keeps.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from airflow_imap_provider.connection.keys import KeyFields, public_bytes
from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.connection.unreadable import UNREADABLE

__all__ = ["load_client_certificate", "unreadable"]

_FIELDS = KeyFields(
    certificate="Client certificate (client_certificate)",
    key="Client private key (client_private_key)",
    passphrase="Client private key's passphrase (client_private_key_passphrase)",  # noqa: S106 - the name of a field
)


def load_client_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Let a context show the client's certificate; nothing to do if there is none.

    :raises SettingsError: it cannot be read, the passphrase does not open the key, or the two do not belong together.
    """
    if not settings.client_certificate and not settings.client_private_key:
        return
    key, certificates = _material(settings)
    passphrase = secrets.token_urlsafe()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))
    pem += b"".join(certificate.public_bytes(Encoding.PEM) for certificate in _leaf_first(certificates, key))
    try:
        with _file_with(pem) as path:
            context.load_cert_chain(path, password=passphrase)
    except OSError as exc:
        reason = getattr(exc, "reason", None) or exc.strerror
        raise unreadable("certificate", f"OpenSSL does not take it ({reason}).") from None


unreadable = _FIELDS.unreadable
"""The error for a part of the client's certificate that cannot be used; see :meth:`KeyFields.unreadable`."""

# -- reading ----------------------------------------------------------------------------------------------------------


def _material(settings: TlsSettings) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    certificate = _FIELDS.content("certificate", settings.client_certificate)
    key = _FIELDS.content("key", settings.client_private_key)
    passphrase = settings.client_private_key_passphrase.encode() or None
    if _FIELDS.is_pkcs12(key):
        private_key, certificates = _FIELDS.open_pkcs12(key, passphrase)
        return private_key, _FIELDS.certificates(certificate) or certificates
    certificates = _FIELDS.certificates(certificate) or _FIELDS.certificates(key)
    if not certificates:
        raise unreadable("certificate", "there is no certificate in it, nor in the private key's field.")
    blocks = _FIELDS.key_blocks(key, certificate)
    if not blocks:
        raise unreadable("key", "there is no private key in it, nor in the certificate's field.")
    return _FIELDS.open_pem(blocks[0], passphrase), certificates


def _leaf_first(certificates: list[x509.Certificate], key: PrivateKeyTypes) -> list[x509.Certificate]:
    """The certificates in the order that TLS wants: the one of the key before those of its issuers."""
    public = public_bytes(key.public_key())
    for number, certificate in enumerate(certificates):
        try:
            if public_bytes(certificate.public_key()) == public:
                return [certificate, *certificates[:number], *certificates[number + 1 :]]
        except UNREADABLE:
            # An issuer's key of an odd kind; the client's own is readable, since the private one was.
            continue
    raise unreadable("key", "it does not belong to the client certificate.")


# -- handing over -----------------------------------------------------------------------------------------------------


@contextmanager
def _file_with(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read this, as long as the block lasts."""
    number = _in_memory(content)
    if number is not None:
        try:
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    # Mode 0600 from the beginning.
    number, path = tempfile.mkstemp(prefix="imap-client-", suffix=".pem")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        yield path
    finally:
        Path(path).unlink()


def _in_memory(content: bytes) -> int | None:
    """An anonymous file; ``None`` where the system has none (macOS), or no /proc to name it by."""
    number: int | None = None
    with contextlib.suppress(AttributeError, OSError):
        number = os.memfd_create("imap-client-certificate", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(content)
        if Path(f"/proc/self/fd/{number}").exists():
            return number
    if number is not None:
        os.close(number)
    return None
