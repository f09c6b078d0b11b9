"""Connections to begin with: complete ones, to which a test adds what it is about."""

from __future__ import annotations

import base64
from typing import Any

from airflow_imap_provider.connection.parsing import parse
from airflow_imap_provider.connection.settings import Settings

# Shaped like a certificate and a key; nothing in this room looks inside.
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(b'c' * 48).decode()}\n-----END CERTIFICATE-----\n"
KEY = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(b'k' * 48).decode()}\n-----END PRIVATE KEY-----\n"
PKCS12 = base64.b64encode(b"\x30\x82" + b"p" * 300).decode()
PIN = "ab" * 32


def connect(
    host: str | None = "imap.example.com",
    port: int | str | None = None,
    login: str | None = "joe@example.com",
    password: str | None = "correct horse",
    **extra: Any,
) -> Settings:
    """The settings of a connection that has these values besides address, username and password."""
    return parse("mail", host=host, port=port, login=login, password=password, extra=extra)


# Together these fill in every field at least once.
COMPLETE: dict[str, dict[str, Any]] = {
    "password": {
        "preset": "gmail",
        "timeout": 30.5,
        "code_page": "koi8-r",
        "auth_method": "plain",
        "alias": "sales@example.com",
        "encryption": "tls",
        "security_mode": "explicit",
        "tls_versions": ["TLSv1", "TLSv1.3"],
        "verify": "chain",
        "ca_bundle": CERTIFICATE,
        "pins": [PIN],
        "client_certificate": CERTIFICATE,
        "client_private_key": KEY,
        "client_private_key_passphrase": "open sesame",
        "server_name": "mail.example.com",
        "strict_x509": False,
        "smime_private_key": PKCS12,
        "smime_private_key_passphrase": "open barley",
        "tunnel_type": "http",
        "tunnel_host": "proxy.example.com",
        "tunnel_port": 3128,
        "tunnel_auth": "ntlm",
        "tunnel_use_credentials": True,
        "tunnel_domain": "EXAMPLE",
        "tunnel_login": "proxy-joe",
        "tunnel_password": "proxy-secret",
        "tunnel_remote_dns": False,
    },
    "oauth": {
        "auth_method": "oauth-client-credentials",
        "oauth_tenant": "example.com",
        "oauth_client_id": "0000-1111",
        "oauth_client_secret": "app-secret",
        "oauth_refresh_token": "consent",
        "oauth_endpoint": "https://login.example.com/token",
        "oauth_scope": "https://mail.example.com/.default",
        "oauth_private_key": '{"client_email": "robot@example.com", "private_key": "-----BEGIN"}',
    },
}
