"""TLS contexts and the handshake, as the connection's tab Encryption wants them.

Pinned fingerprints are checked when the handshake is over, before the first byte of IMAP.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import warnings
from collections.abc import Hashable
from functools import partial

from airflow_imap_provider.connection.fields import field
from airflow_imap_provider.connection.files import Stamp, look
from airflow_imap_provider.connection.hosts import without_zone
from airflow_imap_provider.connection.material import is_path
from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.connection.shown_path import shown_path
from airflow_imap_provider.transport.authorities import bundle_stamp, load_bundle
from airflow_imap_provider.transport.client_certificate import load_client_certificate, unreadable
from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.contexts import Contexts
from airflow_imap_provider.transport.pins import check_pins
from airflow_imap_provider.transport.tls_errors import NOT_TLS, explain, tls_error
from airflow_imap_provider.transport.trace import NO_TRACE, Trace

__all__ = ["context_for", "encrypt"]

logger = logging.getLogger(__name__)

CACHED_CONTEXTS = 64
"""Contexts kept: more different TLS settings in one process are not expected, and each costs 0.9 MiB."""

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_SWITCHES = {
    "TLSv1": ssl.OP_NO_TLSv1,
    "TLSv1.1": ssl.OP_NO_TLSv1_1,
    "TLSv1.2": ssl.OP_NO_TLSv1_2,
    "TLSv1.3": ssl.OP_NO_TLSv1_3,
}
_LEGACY_SERVER_CONNECT = getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)
"""SSL_OP_LEGACY_SERVER_CONNECT of OpenSSL's ssl.h; Python names it from 3.12 on."""
_LEGACY = frozenset({"TLSv1", "TLSv1.1"})
_FILES = ("ca_bundle", "client_certificate", "client_private_key")
_CHECKED = ("full", "chain")
"""Where the issuer is checked; elsewhere nothing is, or only the pinned fingerprints."""

_contexts = Contexts(CACHED_CONTEXTS)
_warnings_lock = threading.Lock()
"""Python's filters of warnings are the process's: two threads that change them at once leave them changed."""


def encrypt(
    sock: socket.socket,
    settings: TlsSettings,
    host: str,
    deadline: Deadline,
    *,
    explicit: bool = False,
    trace: Trace = NO_TRACE,
) -> ssl.SSLSocket:
    """Run the handshake on a connected socket.

    :param sock: given up to the returned socket; the caller closes it if this raises.
    :param host: the connection's address; ``settings.server_name`` goes before it.
    :param deadline: limits the handshake as a whole.
    :param explicit: whether it follows STARTTLS, for the remedies.
    :param trace: who listens.
    :raises TlsError: saying why, and what to change; also if the server's certificate is none of the pinned ones.
    :raises ImapTimeoutError: stage ``tls``.
    """
    trace.enter("tls")
    name = settings.server_name or without_zone(host)
    context = context_for(settings, deadline)
    try:
        # Here, since wrap_socket() loses track of the open socket when it finds this out.
        name.encode("idna")
    except UnicodeError:
        raise tls_error(f"{name!r} cannot be a server's name.", "", "Check Server name (server_name).") from None
    wrapped = sock
    try:
        wrapped = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        wrapped.settimeout(deadline.remaining("tls"))
        wrapped.do_handshake()
    except TimeoutError:
        wrapped.close()
        raise deadline.missed("tls", "" if explicit else NOT_TLS) from None
    except OSError as exc:
        wrapped.close()
        raise explain(exc, name, settings, explicit=explicit) from exc
    try:
        trace.encrypted(wrapped)
        check_pins(wrapped, settings.pins)
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def context_for(settings: TlsSettings, deadline: Deadline) -> ssl.SSLContext:
    """The context for these settings, made once; made again when a file that they name has changed.

    :param deadline: how long to wait for files.
    :raises SettingsError: the CA bundle, or the client's certificate or key, cannot be read.
    :raises ImapTimeoutError: stage ``settings``; a file does not answer.
    """
    names = [field(key).name for key in _FILES if is_path(getattr(settings, key))]
    return _contexts.get(
        settings,
        partial(_new_context, settings),
        deadline,
        names=names,
        stamps=partial(_stamps, settings),
    )


def _stamps(settings: TlsSettings) -> Hashable:
    stamps: list[Stamp] = []
    if is_path(settings.ca_bundle):
        stamps.append(bundle_stamp(settings.ca_bundle))
    for part, path in (("certificate", settings.client_certificate), ("key", settings.client_private_key)):
        if not is_path(path):
            continue
        stamp, problem = look(path)
        if problem:
            raise unreadable(part, f"{shown_path(path)} cannot be read ({problem}).")
        stamps.append(stamp)
    return tuple(stamps)


def _new_context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.verify == "full"
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify in _CHECKED else ssl.CERT_NONE
    _set_versions(context, settings.versions)
    # Set both ways, so that a connection means the same on every Python: 3.13 began to set these flags by itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.strict_x509:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    else:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.verify in _CHECKED:
        if settings.ca_bundle:
            load_bundle(context, settings.ca_bundle)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    load_client_certificate(context, settings)
    return context


def _set_versions(context: ssl.SSLContext, versions: tuple[str, ...]) -> None:
    legacy = [version for version in versions if version in _LEGACY]
    if legacy:
        logger.warning(
            "Allowed SSL/TLS versions (tls_versions) include %s, which are broken: "
            "OpenSSL's security level is lowered to 0 for this connection.",
            " and ".join(legacy),
        )
        # OpenSSL 3 refuses their signatures (SHA-1) at any higher level.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        # Most of them know no secure renegotiation (RFC 5746), without which OpenSSL 3 accepts no server.
        context.options |= _LEGACY_SERVER_CONNECT
    with _warnings_lock, warnings.catch_warnings():
        # Python deprecates naming TLS 1.0 and 1.1, and the switches that are the only way to leave a gap.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[versions[0]]
        context.maximum_version = _VERSIONS[versions[-1]]
        for version, switch in _SWITCHES.items():
            if version not in versions:
                context.options |= switch
