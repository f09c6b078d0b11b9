"""The client's certificate: from PEM or PKCS#12, path or text, encrypted or not, into a TLS context.

OpenSSL reads certificates for a context from a file only. It gets one in memory where the system has that, else a
temporary one that is removed at once; either way the key in it is encrypted with a passphrase that nobody keeps.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from airflow_imap_provider.connection.material import is_path
from airflow_imap_provider.connection.material import pkcs12 as packed
from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.transport.shown_path import shown_path

__all__ = ["load_client_certificate", "unreadable"]

MAX_FILE_BYTES = 1024 * 1024
"""Of a certificate's or key's file: a hundred times what any has, and no gigabytes of a path that was mistyped."""

_KEY_BLOCK = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_CERTIFICATE_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_DER = b"\x30"

_FIELDS = {
    "certificate": "Client certificate (client_certificate)",
    "key": "Client private key (client_private_key)",
    "passphrase": "Client private key's passphrase (client_private_key_passphrase)",
}


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


def unreadable(part: str, problem: str) -> SettingsError:
    """The error for a part that cannot be used.

    :param part: ``certificate``, ``key`` or ``passphrase``.
    :param problem: one sentence without a secret.
    """
    return SettingsError(
        f"Encryption, {_FIELDS[part]}: {problem}",
        stage="settings",
        remedy="Give PEM (a path on this machine, or the text), or PKCS#12 as the private key (a path, or base64).",
    )


# -- reading ----------------------------------------------------------------------------------------------------------


def _material(settings: TlsSettings) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    certificate = _content("certificate", settings.client_certificate)
    key = _content("key", settings.client_private_key)
    passphrase = settings.client_private_key_passphrase.encode() or None
    if key.startswith(_DER):
        private_key, certificates = _open_pkcs12(key, passphrase)
        return private_key, _certificates(certificate) or certificates
    certificates = _certificates(certificate) or _certificates(key)
    if not certificates:
        raise unreadable("certificate", "there is no certificate in it, nor in the private key's field.")
    blocks = [found.group() for content in (key, certificate) for found in _KEY_BLOCK.finditer(content)]
    if not blocks:
        raise unreadable("key", "there is no private key in it, nor in the certificate's field.")
    return _open_pem(blocks[0], passphrase), certificates


def _content(part: str, material: str) -> bytes:
    """What the field says, or the file that it names."""
    if (data := packed(material)) is not None:
        return data
    if not is_path(material):
        return material.encode("utf-8", "replace")
    content, problem = b"", ""
    try:
        with Path(material).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        problem = exc.strerror or type(exc).__name__
    except ValueError:
        problem = "it is no path"
    if problem:
        # Only here, so that the foreign exception is not attached: it names the file, which may be a secret.
        raise unreadable(part, f"{shown_path(material)} cannot be read ({problem}).")
    if len(content) > MAX_FILE_BYTES:
        raise unreadable(part, f"{shown_path(material)} is larger than any certificate or key.")
    return content


def _certificates(content: bytes) -> list[x509.Certificate]:
    try:
        return [x509.load_pem_x509_certificate(found.group()) for found in _CERTIFICATE_BLOCK.finditer(content)]
    except (ValueError, UnsupportedAlgorithm):
        raise unreadable("certificate", "it is damaged, or of a kind that is not known here.") from None


def _open_pkcs12(data: bytes, passphrase: bytes | None) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    try:
        bundle = pkcs12.load_pkcs12(data, passphrase)
    except UnsupportedAlgorithm:
        raise unreadable("key", "the PKCS#12 is encrypted in a way that is not known here.") from None
    except ValueError:
        problem = "it does not open the PKCS#12 (or that is damaged)." if passphrase else "the PKCS#12 needs one."
        raise unreadable("passphrase", problem) from None
    if bundle.key is None or bundle.cert is None:
        raise unreadable("key", "the PKCS#12 has no private key with a certificate in it.")
    return bundle.key, [entry.certificate for entry in (bundle.cert, *bundle.additional_certs)]


def _open_pem(block: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(block, passphrase)
    except UnsupportedAlgorithm:
        raise unreadable("key", "it is of a kind, or encrypted in a way, that is not known here.") from None
    except TypeError:
        # The library's way to say that there is a passphrase too many or too few.
        problem = "the key is not encrypted: empty this field." if passphrase else "the key is encrypted and needs one."
        raise unreadable("passphrase", problem) from None
    except ValueError:
        if passphrase and b"ENCRYPTED" in block:
            raise unreadable("passphrase", "it does not open the key (or that is damaged).") from None
        raise unreadable("key", "it is damaged.") from None


def _leaf_first(certificates: list[x509.Certificate], key: PrivateKeyTypes) -> list[x509.Certificate]:
    """The certificates in the order that TLS wants: the one of the key before those of its issuers."""
    public = _public(key.public_key())
    for number, certificate in enumerate(certificates):
        try:
            if _public(certificate.public_key()) == public:
                return [certificate, *certificates[:number], *certificates[number + 1 :]]
        except (ValueError, UnsupportedAlgorithm):
            # An issuer's key of an odd kind; the client's own is readable, since the private one was.
            continue
    raise unreadable("key", "it does not belong to the client certificate.")


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


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
