"""What a Test reports of settings, encryption and capabilities: facts, and warnings about what should not stay so."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from datetime import datetime
from typing import Any

from cryptography import x509

from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.connection.unreadable import UNREADABLE
from airflow_imap_provider.transport.pins import fingerprints
from airflow_imap_provider.transport.report import Fact

__all__ = [
    "Findings",
    "capability_findings",
    "login_findings",
    "mechanism_findings",
    "settings_findings",
    "tls_findings",
]

Findings = tuple[dict[str, Fact], tuple[str, ...]]

SOON_EXPIRED = 30
"""Days before its end from which a certificate is warned of: time to have another one issued."""
SHOWN_NAMES = 5
"""Names of a certificate that are shown; a shared one may have a hundred."""

_CAPABILITIES = ("IDLE", "MOVE", "UIDPLUS", "CONDSTORE", "OBJECTID", "QUOTA")
_LEGACY = ("TLSv1", "TLSv1.1")
_ENCRYPTION = {"none": "none", "implicit": "implicit TLS", "starttls": "STARTTLS"}
_VERIFICATION = {
    "chain": "The server's name is not checked: any server with a trusted certificate may pose as this one.",
    "none": "The server's certificate is not checked: anybody on the way may pose as the server.",
}


def settings_findings(settings: Settings) -> Findings:
    """What the connection asks for."""
    facts: dict[str, Fact] = {
        "server": f"{settings.host} port {settings.port}",
        "encryption": _ENCRYPTION[settings.security],
        "method": settings.auth.method,
        "timeout": f"{settings.timeout:g} s",
    }
    if settings.tunnel.type != "none":
        facts["proxy"] = f"{settings.tunnel.type}, {settings.tunnel.host} port {settings.tunnel.port}"
    warnings = []
    if settings.auth.method.startswith("oauth-") and settings.auth.password:
        warnings.append("Password (password) is filled in and not used: Method (auth_method) gets a token instead.")
    warnings += [
        f"{name} begins or ends with a blank, which counts: check that it belongs to it."
        for name, secret in (
            ("Password (password)", settings.auth.password),
            ("OAuth: client secret (oauth_client_secret)", settings.auth.oauth.client_secret),
            ("OAuth: refresh token (oauth_refresh_token)", settings.auth.oauth.refresh_token),
            ("Proxy password (tunnel_password)", settings.tunnel.password),
        )
        if secret != secret.strip()
    ]
    if settings.security == "none":
        warnings.append(
            "No encryption: everybody on the way can read the mails, and a password sent by PLAIN or LOGIN."
        )
        return facts, tuple(warnings)
    if settings.tls.verify in _VERIFICATION and not settings.tls.pins:
        warnings.append(_VERIFICATION[settings.tls.verify])
    if legacy := [version for version in settings.tls.versions if version in _LEGACY]:
        warnings.append(f"{' and '.join(legacy)} are allowed, which are broken; OpenSSL's security level is lowered.")
    return facts, tuple(warnings)


def tls_findings(sock: ssl.SSLSocket, now: datetime) -> Findings:
    """What was agreed on, and the server's certificate with its fingerprints, ready to be pasted as pins."""
    cipher = sock.cipher()
    version = sock.version() or "unknown"
    facts: dict[str, Fact] = {"version": version, "cipher": cipher[0] if cipher else "unknown"}
    warnings = [f"{version} is broken: the server needs a newer version."] if version in _LEGACY else []
    der = sock.getpeercert(binary_form=True)
    if not der:
        return facts, tuple(warnings)
    try:
        certificate = x509.load_der_x509_certificate(der)
        days = (certificate.not_valid_after_utc - now).days
        facts |= {
            "subject": certificate.subject.rfc4514_string() or "(empty)",
            "names": _names(certificate),
            "issuer": certificate.issuer.rfc4514_string() or "(empty)",
            "valid_from": certificate.not_valid_before_utc.strftime("%Y-%m-%d"),
            "expires": certificate.not_valid_after_utc.strftime("%Y-%m-%d"),
            "days_left": days,
        }
    except UNREADABLE as exc:
        facts["certificate"] = f"cannot be read ({type(exc).__name__})"
    else:
        if days < SOON_EXPIRED:
            warnings.append(_expiry(days))
    whole, key = fingerprints(der)
    facts["certificate_pin"] = whole
    if key:
        facts["key_pin"] = key
    return facts, tuple(warnings)


def _expiry(days: int) -> str:
    if days < 0:
        return "The server's certificate has expired."
    return f"The server's certificate expires in {days} day{'' if days == 1 else 's'}: its operator must renew it."


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ("(none)",)
    except UNREADABLE as exc:
        # One name of an odd kind makes them all unreadable here; OpenSSL has looked at them by itself.
        return (f"(cannot be read: {type(exc).__name__})",)
    names: list[Any] = [*found.get_values_for_type(x509.DNSName), *found.get_values_for_type(x509.IPAddress)]
    return tuple(map(str, names[:SHOWN_NAMES])) + (("…",) if len(names) > SHOWN_NAMES else ())


def login_findings(capabilities: Collection[str]) -> Findings:
    """The ways to log in that the server offers on this connection."""
    offered = sorted(item.removeprefix("AUTH=") for item in capabilities if item.startswith("AUTH="))
    return {"offered": tuple(offered + ["LOGINDISABLED"] * ("LOGINDISABLED" in capabilities)) or ("LOGIN",)}, ()


def mechanism_findings(mechanism: str) -> Findings:
    """How the login was done."""
    warnings: tuple[str, ...] = ()
    if mechanism == "CRAM-MD5":
        warnings = ("CRAM-MD5 is obsolete: it proves nothing about the server. SCRAM or PLAIN with TLS is better.",)
    return {"mechanism": mechanism}, warnings


def capability_findings(capabilities: Collection[str]) -> Findings:
    """Those that matter here, there or not."""
    names = {item.partition("=")[0] for item in capabilities}
    has = tuple(name for name in _CAPABILITIES if name in names)
    lacks = tuple(name for name in _CAPABILITIES if name not in names)
    warnings = () if "IDLE" in has else ("The server has no IDLE: new mail is found by polling, every poll_interval.",)
    facts: dict[str, Fact] = {"has": has} if has else {}
    if lacks:
        facts["lacks"] = lacks
    return facts, warnings
