"""What ties a SCRAM exchange to its TLS connection (RFC 5929), as far as Python's ``ssl`` gives it.

Up to TLS 1.2 that is ``tls-unique``, which every server with ``-PLUS`` must know. TLS 1.3 has done away with it, and
its successor ``tls-exporter`` (RFC 9266) cannot be had from Python; ``tls-server-end-point``, the hash of the server's
certificate, is left, which only some servers know.
"""

from __future__ import annotations

import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.transport.scram import ChannelBinding

__all__ = ["END_POINT", "UNIQUE", "binding_of", "end_point"]

UNIQUE = "tls-unique"
END_POINT = "tls-server-end-point"

_WEAK = frozenset({"md5", "sha1"})  # SHA-256 takes their place


def binding_of(sock: socket.socket) -> ChannelBinding | None:
    """What this side can bind to; ``None`` without encryption, or where it cannot be computed."""
    if not isinstance(sock, ssl.SSLSocket):
        return None
    if sock.version() != "TLSv1.3":
        data = sock.get_channel_binding(UNIQUE)
        return ChannelBinding(UNIQUE, data) if data else None
    certificate = sock.getpeercert(binary_form=True)
    data = end_point(certificate) if certificate else None
    return ChannelBinding(END_POINT, data) if data else None


def end_point(certificate: bytes) -> bytes | None:
    """``tls-server-end-point`` for a server with this certificate (DER; RFC 5929 section 4.1).

    It is hashed by the algorithm of its own signature; ``None`` if that has none, like Ed25519's, for which nothing is
    defined.
    """
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
        if algorithm is None:
            return None
        digest = hashes.Hash(hashes.SHA256() if algorithm.name in _WEAK else algorithm)
    except UNREADABLE:
        return None
    digest.update(certificate)
    return digest.finalize()
