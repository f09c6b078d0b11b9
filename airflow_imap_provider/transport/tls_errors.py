"""What a failed TLS handshake means, in words that a person can act on.

OpenSSL's reasons become: expired, self-signed, another name, unknown authority, no common version, a client certificate
that the server does not accept, or a server that does not speak TLS on this port at all.
"""

from __future__ import annotations

import ssl

from airflow_imap_provider.connection.settings import TlsSettings
from airflow_imap_provider.errors import CertificateError, NotTlsError, TlsError
from airflow_imap_provider.transport.remedies import ASK_OPERATOR, TAMPERING

__all__ = [
    "CHOOSE_IMPLICIT",
    "CLIENT_CERTIFICATE",
    "NOT_TLS",
    "SPEAKS_TLS",
    "client_certificate_problem",
    "explain",
    "no_starttls",
    "tampered",
    "tls_error",
]

SPEAKS_TLS = "the server speaks TLS from the first byte on this port."
CHOOSE_IMPLICIT = "Choose SSL with Security mode Implicit, or Port (port) 143."
NOT_TLS = "Choose Security mode Explicit (STARTTLS), or port 993: this port may not speak TLS from the first byte."
_PLAINTEXT_REASONS = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_OTHER_VERSIONS = "Check Port (port) and Allowed SSL/TLS versions (tls_versions): the server may want others."
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

_OLD_RENEGOTIATION = frozenset({"UNSAFE_LEGACY_RENEGOTIATION_DISABLED"})
_OLD_SERVER = (
    "Try TLS 1.0 or 1.1 in Allowed SSL/TLS versions (tls_versions), if this is an old server: that lowers OpenSSL's "
    "security level. A server that does not accept the client certificate may say the same."
)
_MISSING_CERTIFICATE = (
    "Fill in Client certificate (client_certificate) and Client private key (client_private_key), if the server wants "
    "one."
)

CLIENT_CERTIFICATE = (
    "Check Client certificate (client_certificate) and Client private key (client_private_key), "
    "and which authorities the server accepts."
)
_NOT_ACCEPTED = "the server does not accept the client certificate."
_CLIENT_CERTIFICATE_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server demands a client certificate.",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not know the authority that issued the client certificate.",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the server says that the client certificate has expired.",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the server says that the client certificate has been revoked.",
    "SSLV3_ALERT_BAD_CERTIFICATE": _NOT_ACCEPTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NOT_ACCEPTED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _NOT_ACCEPTED,
    "TLSV1_ALERT_DECRYPT_ERROR": _NOT_ACCEPTED,
}

_PIN = "Or pin it (pins; verify: pinned) once the server's administrator confirms the report's SHA-256."
_PIN_ALONE = (
    "Choose Verify certificate (verify) Pinned only, if the pin is to count alone: now the rest is checked too."
)
_UNKNOWN_AUTHORITY = (
    "the authority that issued the server's certificate is not known here",
    "Put its certificate into CA bundle (ca_bundle). A server that omits intermediate certificates must be mended. "
    f"{_PIN}",
)
_TOO_WEAK = (
    "Ask the server's operator to renew it (RSA with 2048 bits, SHA-256). Until then allow TLS 1.1 too in Allowed "
    f"SSL/TLS versions (tls_versions), which lowers OpenSSL's security level. {_PIN}"
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h: the problem and the remedy for each that has one of its own.
_CERTIFICATE_PROBLEMS: dict[int, tuple[str, str]] = {
    9: ("the server's certificate is not valid yet", "Check the clock of this machine; else the server needs another."),
    10: (
        "the server's certificate, or one that it depends on, has expired",
        f"Ask the server's operator to renew it; check the clock of this machine too. {_PIN}",
    ),
    18: (
        "the server's certificate is self-signed",
        f"Put this certificate into CA bundle (ca_bundle). {_PIN}",
    ),
    19: (
        "the certificate chain ends in an authority that is not trusted here",
        f"Put that authority's certificate into CA bundle (ca_bundle). {_PIN}",
    ),
    66: ("the key of the server's certificate is too weak", _TOO_WEAK),
    67: ("the key of an authority behind the server's certificate is too weak", _TOO_WEAK),
    68: ("the server's certificate, or one behind it, is signed with a digest that is too weak", _TOO_WEAK),
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
}
_NAME_PROBLEMS = frozenset({62, 64})  # host name mismatch, IP address mismatch
_STRICT_PROBLEMS = range(79, 96)  # from "CA cert does not include key usage" on: what VERIFY_X509_STRICT adds


def explain(exc: OSError, name: str, settings: TlsSettings, *, explicit: bool) -> TlsError:
    """The error for a handshake that failed.

    :param name: the server's name as it was checked.
    :param explicit: whether it followed STARTTLS.
    """
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _explain_certificate(exc, name, settings)
    reason = (getattr(exc, "reason", None) or "") if isinstance(exc, ssl.SSLError) else ""
    if reason in _PLAINTEXT_REASONS:
        remedy = ASK_OPERATOR if explicit else NOT_TLS
        return NotTlsError("the server's answer is not TLS.", stage="tls", reply=reason, remedy=remedy)
    if reason in _VERSION_REASONS:
        return tls_error(
            f"no version of TLS that both sides allow; allowed here: {', '.join(settings.versions)}.",
            reason,
            "Change Allowed SSL/TLS versions (tls_versions), or the server.",
        )
    if reason in _OLD_RENEGOTIATION:
        return tls_error(
            "the server knows no secure renegotiation (RFC 5746).",
            reason,
            "Ask the server's operator to mend it. Until then allow TLS 1.1 too in Allowed SSL/TLS versions "
            "(tls_versions), which lets such servers in and lowers OpenSSL's security level.",
        )
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" and not settings.client_certificate + settings.client_private_key:
        # TLS 1.2 has no alert of its own for "a client certificate is missing".
        return tls_error(
            "the server refuses the handshake and does not say why.", reason, f"{_MISSING_CERTIFICATE} {_OLD_SERVER}"
        )
    if reason in _CIPHER_REASONS:
        return tls_error(
            "the two sides have no cipher, key or signature in common that both accept.", reason, _OLD_SERVER
        )
    if problem := client_certificate_problem(reason):
        return tls_error(problem, reason, CLIENT_CERTIFICATE)
    # Which of the three it is differs between releases of Python: 3.11.2 has SSLZeroReturnError without a reason.
    ended = isinstance(exc, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError))
    if ended or reason == "UNEXPECTED_EOF_WHILE_READING":
        return NotTlsError(
            "the server closed the connection during the handshake.",
            stage="tls",
            reply=reason,
            remedy=f"{_OTHER_VERSIONS} {'' if explicit else NOT_TLS}".strip(),
        )
    return tls_error("the handshake failed.", reason or str(exc), ASK_OPERATOR)


def client_certificate_problem(reason: str) -> str:
    """What an alert says about the client's certificate; empty if it is about something else.

    :param reason: OpenSSL's name of the alert; the server's alerts about certificates can only mean the client's.
    """
    return _CLIENT_CERTIFICATE_ALERTS.get(reason, "")


def _explain_certificate(exc: ssl.SSLCertVerificationError, name: str, settings: TlsSettings) -> CertificateError:
    code = exc.verify_code
    if code in _NAME_PROBLEMS:
        problem = f"the server's certificate is not for {name!r}"
        remedy = (
            "Give a name that the certificate has as Address (host) or Server name (server_name). "
            f"To accept any name of this authority choose Verify certificate: chain only. {_PIN}"
        )
    elif code in _STRICT_PROBLEMS and settings.strict_x509:
        problem = "the server's certificate, or its authority's, breaks the rules for certificates"
        remedy = "Switch Strict certificate checks (strict_x509) off, if this is an old private CA."
    else:
        problem, remedy = _CERTIFICATE_PROBLEMS.get(code, ("the server's certificate is not accepted", ASK_OPERATOR))
    if settings.pins and remedy.endswith(_PIN):
        remedy = f"{_PIN_ALONE} {remedy.removesuffix(_PIN)}".strip()
    return CertificateError(f"{problem}.", stage="tls", reply=exc.verify_message, remedy=remedy)


def no_starttls() -> TlsError:
    """The error for a server that does not offer the encryption that was chosen."""
    return TlsError(
        "the server does not offer STARTTLS here.",
        stage="starttls",
        remedy="Try Security mode Implicit with port 993. "
        "If it offered it before, somebody on the way may be removing the offer.",
    )


def tampered() -> TlsError:
    """The error for what nobody but the server, inside the encryption, could say rightly."""
    return TlsError(
        "plain text came behind the answer to STARTTLS: somebody on the way may be tampering.",
        stage="starttls",
        remedy=TAMPERING,
    )


def tls_error(problem: str, reply: str, remedy: str) -> TlsError:
    """An error of stage ``tls``."""
    return TlsError(problem, stage="tls", reply=reply, remedy=remedy.strip())
