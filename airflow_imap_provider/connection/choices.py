"""The entries of the drop-downs of the connection form.

Stored values are part of the public interface and stay as they are.
"""

from __future__ import annotations

from airflow_imap_provider.connection.field import Choice

__all__ = [
    "AUTH_METHODS",
    "ENCRYPTIONS",
    "PRESETS",
    "SECURITY_MODES",
    "TLS_VERSIONS",
    "TUNNEL_AUTHS",
    "TUNNEL_TYPES",
    "VERIFICATIONS",
]

PRESETS = (
    Choice("custom", "Custom"),
    Choice("office365", "Office 365"),
    Choice("gmail", "Gmail"),
    Choice("outlook", "Outlook.com"),
    Choice("yahoo", "Yahoo"),
    Choice("icloud", "iCloud"),
    Choice("fastmail", "Fastmail"),
    Choice("zoho", "Zoho"),
    Choice("gmx", "GMX"),
)

AUTH_METHODS = (
    Choice("auto", "Automatic (strongest offered)"),
    Choice("login", "LOGIN"),
    Choice("plain", "PLAIN"),
    Choice("cram-md5", "CRAM-MD5"),
    Choice("scram-sha-1", "SCRAM-SHA-1"),
    Choice("scram-sha-256", "SCRAM-SHA-256"),
    Choice("external", "EXTERNAL (client certificate)"),
    Choice("anonymous", "ANONYMOUS"),
    Choice("oauth-client-credentials", "OAuth 2.0 client credentials"),
    Choice("oauth-refresh-token", "OAuth 2.0 refresh token"),
    Choice("oauth-service-account", "Google service account"),
    Choice("bearer", "Bearer token (in the Password field)"),
)

ENCRYPTIONS = (Choice("none", "No encryption"), Choice("ssl", "SSL"), Choice("tls", "TLS"))

SECURITY_MODES = (Choice("implicit", "Implicit"), Choice("explicit", "Explicit (STARTTLS)"))

TLS_VERSIONS = (
    Choice("TLSv1", "TLS 1.0"),
    Choice("TLSv1.1", "TLS 1.1"),
    Choice("TLSv1.2", "TLS 1.2"),
    Choice("TLSv1.3", "TLS 1.3"),
)

VERIFICATIONS = (
    Choice("full", "Full"),
    Choice("chain", "Chain only (not the host name)"),
    Choice("pinned", "Pinned only"),
    Choice("none", "None"),
)

TUNNEL_TYPES = (
    Choice("none", "No proxy"),
    Choice("http", "HTTP (CONNECT)"),
    Choice("socks4", "SOCKS4"),
    Choice("socks4a", "SOCKS4a"),
    Choice("socks5", "SOCKS5"),
)

TUNNEL_AUTHS = (
    Choice("auto", "Automatic"),
    Choice("basic", "Basic"),
    Choice("digest", "Digest"),
    Choice("ntlm", "NTLM"),
)
