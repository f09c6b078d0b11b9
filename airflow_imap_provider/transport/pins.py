"""Pinned fingerprints: whether the server's certificate, or the key in it, is one that the connection names."""

from __future__ import annotations

import hashlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.errors import TlsError
from airflow_imap_provider.transport.remedies import ASK_OPERATOR

__all__ = ["check_pins", "fingerprints"]


def check_pins(sock: ssl.SSLSocket, pins: tuple[str, ...]) -> None:
    """Refuse a server whose certificate is none of the pinned ones; no pins, no check.

    :param sock: the handshake is over, so the server has proved that it has the certificate's key.
    :param pins: SHA-256 each, 64 lower-case hexadecimal digits, of the certificate or of its key.
    :raises TlsError: says what the server has, so that an administrator can compare and pin it.
    """
    if not pins:
        return
    certificate = sock.getpeercert(binary_form=True)
    if not certificate:
        raise TlsError("the server shows no certificate, so none of the pinned ones.", stage="tls", remedy=ASK_OPERATOR)
    whole, key = fingerprints(certificate)
    if whole in pins or key in pins:
        return
    raise TlsError(
        f"the server's certificate is none of the pinned ones: SHA-256 of the certificate {whole}, "
        f"of its key {key or 'unknown (it cannot be read)'}.",
        stage="tls",
        remedy="Ask the server's operator whether it has a new one; if so, put that into Pinned fingerprints (pins). "
        "If not, somebody on the way poses as the server.",
    )


def fingerprints(certificate: bytes) -> tuple[str, str]:
    """SHA-256 of a certificate (DER) and of its public key (SubjectPublicKeyInfo, RFC 7469 section 2.4).

    The second is empty if the key is of a kind that nobody knows here.
    """
    whole = hashlib.sha256(certificate).hexdigest()
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UNREADABLE:
        return whole, ""
    return whole, hashlib.sha256(encoded).hexdigest()
