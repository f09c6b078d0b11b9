"""TLS contexts and the handshake, as the connection's tab Encryption wants them.

A context costs about 20 ms and 0.9 MiB, so there is one per settings. What OpenSSL says when a handshake fails is
turned into what a person can act on: expired, self-signed, another name, unknown authority, no common version, or a
server that does not speak TLS on this port at all.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import warnings
from collections import OrderedDict
from pathlib import Path

from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import SettingsError, TlsError
from airflow_imap_provider.transport.clock import Deadline

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
_LEGACY = frozenset({"TLSv1", "TLSv1.1"})

_contexts: OrderedDict[tuple[TlsSettings, object], ssl.SSLContext] = OrderedDict()
_contexts_lock = threading.Lock()


def encrypt(
    sock: socket.socket, settings: TlsSettings, host: str, deadline: Deadline, *, explicit: bool = False
) -> ssl.SSLSocket:
    """Run the handshake on a connected socket.

    :param sock: given up to the returned socket; the caller closes it if this raises.
    :param host: the connection's address; ``settings.server_name`` goes before it.
    :param deadline: limits the handshake as a whole.
    :param explicit: whether it follows STARTTLS, for the remedies.
    :raises TlsError: saying why, and what to change.
    :raises ImapTimeoutError: stage ``tls``.
    """
    name = settings.server_name or host
    context = context_for(settings)
    try:
        # Here, since wrap_socket() loses track of the open socket when it finds this out.
        name.encode("idna")
    except UnicodeError:
        raise _tls_error(f"{name!r} cannot be a server's name.", "", "Check Server name (server_name).") from None
    wrapped = sock
    try:
        wrapped = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        wrapped.settimeout(deadline.remaining("tls"))
        wrapped.do_handshake()
    except TimeoutError:
        wrapped.close()
        raise deadline.missed("tls", "" if explicit else _NOT_TLS) from None
    except OSError as exc:
        wrapped.close()
        raise _explain(exc, name, settings, explicit=explicit) from exc
    return wrapped


def context_for(settings: TlsSettings) -> ssl.SSLContext:
    """The context for these settings, made once; made again when the CA bundle's file has changed.

    :raises SettingsError: the CA bundle cannot be read.
    """
    with _contexts_lock:
        key = (settings, _stamp(settings.ca_bundle))
        context = _contexts.get(key)
        if context is None:
            context = _contexts[key] = _new_context(settings)
        _contexts.move_to_end(key)
        while len(_contexts) > CACHED_CONTEXTS:
            _contexts.popitem(last=False)
        return context


def _stamp(ca_bundle: str) -> object:
    if not ca_bundle or _is_pem(ca_bundle):
        return None
    try:
        found = Path(ca_bundle).stat()
    except OSError as exc:
        raise _bad_bundle(f"{ca_bundle!r} cannot be read ({exc.strerror}).") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_pem(ca_bundle: str) -> bool:
    return "-----BEGIN" in ca_bundle


def _bad_bundle(problem: str) -> SettingsError:
    return SettingsError(
        f"Encryption, CA bundle (ca_bundle): {problem}",
        stage="settings",
        remedy="Give the path of a PEM file (or hashed folder) on this machine, or the PEM text itself.",
    )


def _new_context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.verify == "full"
    context.verify_mode = ssl.CERT_NONE if settings.verify == "none" else ssl.CERT_REQUIRED
    _set_versions(context, settings.versions)
    # Set both ways, so that a connection means the same on every Python: 3.13 began to set these flags by itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.strict_x509:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    else:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.verify != "none":
        _load_authorities(context, settings.ca_bundle)
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
    with warnings.catch_warnings():
        # Python deprecates naming TLS 1.0 and 1.1, and the switches that are the only way to leave a gap.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[versions[0]]
        context.maximum_version = _VERSIONS[versions[-1]]
        for version, switch in _SWITCHES.items():
            if version not in versions:
                context.options |= switch


def _load_authorities(context: ssl.SSLContext, ca_bundle: str) -> None:
    if not ca_bundle:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    try:
        if _is_pem(ca_bundle):
            context.load_verify_locations(cadata=ca_bundle)
        elif Path(ca_bundle).is_dir():
            context.load_verify_locations(capath=ca_bundle)
        else:
            context.load_verify_locations(cafile=ca_bundle)
    except (OSError, ValueError) as exc:
        what = "the text" if _is_pem(ca_bundle) else repr(ca_bundle)
        reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
        raise _bad_bundle(f"{what} holds no certificate that can be read ({reason}).") from None


# -- what a failed handshake means ------------------------------------------------------------------------------------

_NOT_TLS = (
    "Does this port speak TLS from the first byte? If not, choose Security mode Explicit (STARTTLS); "
    "port 993 is usually Implicit, 143 Explicit."
)
_PLAINTEXT_REASONS = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_VERSION_REASONS = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "VERSION_TOO_LOW",
        "UNSUPPORTED_SSL_VERSION",
        "INAPPROPRIATE_FALLBACK",
    }
)
_CIPHER_REASONS = frozenset(
    {"SSLV3_ALERT_HANDSHAKE_FAILURE", "NO_SHARED_CIPHER", "DH_KEY_TOO_SMALL", "EE_KEY_TOO_SMALL"}
)

_UNKNOWN_AUTHORITY = (
    "the authority that issued the server's certificate is not known here",
    "Put its certificate into CA bundle (ca_bundle); a server that omits intermediate certificates must be mended.",
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h: the problem and the remedy for each that has one of its own.
_CERTIFICATE_PROBLEMS: dict[int, tuple[str, str]] = {
    9: ("the server's certificate is not valid yet", "Check the clock of this machine; else the server needs another."),
    10: (
        "the server's certificate, or one that it depends on, has expired",
        "The server's operator must renew it; check the clock of this machine too.",
    ),
    18: (
        "the server's certificate is self-signed",
        "Put this certificate into CA bundle (ca_bundle), or give the server one from an authority.",
    ),
    19: (
        "the certificate chain ends in an authority that is not trusted here",
        "Put that authority's certificate into CA bundle (ca_bundle).",
    ),
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
}
_NAME_PROBLEMS = frozenset({62, 64})  # host name mismatch, IP address mismatch
_STRICT_PROBLEMS = range(79, 96)  # from "CA cert does not include key usage" on: what VERIFY_X509_STRICT adds


def _explain(exc: OSError, name: str, settings: TlsSettings, *, explicit: bool) -> TlsError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _explain_certificate(exc, name, settings)
    reason = (getattr(exc, "reason", None) or "") if isinstance(exc, ssl.SSLError) else ""
    if reason in _PLAINTEXT_REASONS:
        return _tls_error("the server's answer is not TLS.", reason, "" if explicit else _NOT_TLS)
    if reason in _VERSION_REASONS:
        return _tls_error(
            f"no version of TLS that both sides allow; allowed here: {', '.join(settings.versions)}.",
            reason,
            "Change Allowed SSL/TLS versions (tls_versions), or the server.",
        )
    if reason in _CIPHER_REASONS:
        return _tls_error(
            "the two sides have no cipher, key or signature in common that both accept.",
            reason,
            "An old server may need TLS 1.0 or 1.1 in Allowed SSL/TLS versions (tls_versions), which lowers OpenSSL's "
            "security level; a server that wants a client certificate may say the same.",
        )
    if isinstance(exc, (ConnectionError, ssl.SSLEOFError)) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return _tls_error(
            "the server closed the connection during the handshake.",
            reason,
            "It may allow other versions of TLS than Allowed SSL/TLS versions (tls_versions), or no TLS on this port. "
            + ("" if explicit else _NOT_TLS),
        )
    return _tls_error("the handshake failed.", reason or str(exc), "")


def _explain_certificate(exc: ssl.SSLCertVerificationError, name: str, settings: TlsSettings) -> TlsError:
    code = exc.verify_code
    if code in _NAME_PROBLEMS:
        problem = f"the server's certificate is not for {name!r}"
        remedy = (
            "Use a name that the certificate has as Address (host), or give it as Server name (server_name); "
            "to accept any name of this authority choose Verify certificate: chain only."
        )
    elif code in _STRICT_PROBLEMS and settings.strict_x509:
        problem = "the server's certificate, or its authority's, breaks the rules for certificates"
        remedy = "For an old private CA switch Strict certificate checks (strict_x509) off."
    else:
        problem, remedy = _CERTIFICATE_PROBLEMS.get(code, ("the server's certificate is not accepted", ""))
    return _tls_error(f"{problem}.", exc.verify_message, remedy)


def _tls_error(problem: str, reply: str, remedy: str) -> TlsError:
    return TlsError(problem, stage="tls", reply=reply, remedy=remedy.strip())
