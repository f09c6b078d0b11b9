"""How the fields of a connection go together.

Each function checks one tab and answers with its settings. The rule for fields that have no effect: a choice made
expressly (No proxy, Method LOGIN, Verify certificate None) keeps values that belong to another choice without using
them, so that one can switch back and forth; where no choice was made, such a value is an error. No encryption is
stricter, for the password would travel readable: nothing may be left that asks for protection.
"""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import urlsplit

from airflow_imap_provider.connection.field import Field
from airflow_imap_provider.connection.fields import field
from airflow_imap_provider.connection.hosts import is_address
from airflow_imap_provider.connection.limits import IMPLICIT_PORT, PLAIN_PORT, SOCKS_PORT
from airflow_imap_provider.connection.material import is_path
from airflow_imap_provider.connection.presets import PRESETS
from airflow_imap_provider.connection.settings import (
    AuthSettings,
    OAuthSettings,
    Security,
    SmimeSettings,
    TlsSettings,
    TunnelSettings,
    Verification,
)
from airflow_imap_provider.connection.shared import shared
from airflow_imap_provider.connection.values import Values, wrong
from airflow_imap_provider.errors import SettingsError

__all__ = ["auth_settings", "security_and_port", "smime_settings", "tls_settings", "tunnel_settings"]

# Of each group one field must be filled in for the method.
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "external": (("client_certificate", "client_private_key"),),
    "anonymous": (),
    "oauth-client-credentials": (
        ("login", "alias"),
        ("oauth_client_id",),
        ("oauth_client_secret", "oauth_private_key"),
        ("oauth_endpoint", "oauth_tenant"),
        ("oauth_scope",),
    ),
    "oauth-refresh-token": (
        ("login", "alias"),
        ("oauth_client_id",),
        ("oauth_refresh_token",),
        ("oauth_endpoint", "oauth_tenant"),
    ),
    "oauth-service-account": (("login", "alias"), ("oauth_private_key",)),
    "bearer": (("login", "alias"), ("password",)),
}
_BEARER_TOKEN = re.compile(
    r"[\x21-\x7e]+"
)  # a little more than RFC 6750 section 2.1 allows, and nothing that could break out
_TENANT = re.compile(r"[A-Za-z0-9._-]+")
_PASSWORD_NEEDED = (("login",), ("password",))
_WITHOUT_ALIAS = ("login", "cram-md5", "anonymous")  # no place for an authorization identity in these
_OAUTH = (
    "oauth_tenant",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_refresh_token",
    "oauth_endpoint",
    "oauth_scope",
    "oauth_private_key",
)
_PROTECTION = (
    "security_mode",
    "tls_versions",
    "verify",
    "pins",
    "client_certificate",
    "client_private_key",
    "client_private_key_passphrase",
    "server_name",
)
_TUNNEL = ("tunnel_host", "tunnel_port", "tunnel_auth", "tunnel_domain", "tunnel_login", "tunnel_password")


def security_and_port(values: Values) -> tuple[Security, int]:
    """When encryption begins, and the port: each follows from the other where only one is filled in."""
    port = values.integer("port")
    if values.text("encryption") == "none":
        return "none", port or PLAIN_PORT
    mode = values.text("security_mode")
    if not mode and port in (IMPLICIT_PORT, PLAIN_PORT):
        mode = "implicit" if port == IMPLICIT_PORT else "explicit"
    if not mode:
        mode = "explicit" if values.text("encryption") == "tls" else "implicit"
    if mode == "implicit":
        return "implicit", port or IMPLICIT_PORT
    return "starttls", port or PLAIN_PORT


def auth_settings(values: Values) -> AuthSettings:
    """Who logs in, and how."""
    method = values.text("auth_method", "auto")
    chosen = field("auth_method").choice(method)
    label = chosen.label if chosen else method
    _oauth_has_a_method(values, method)
    for group in _NEEDED.get(method, _PASSWORD_NEEDED):
        if not any(values.given(key) for key in group):
            raise wrong(
                field(group[0]),
                f"it is empty, and {field('auth_method').name} {label} needs it",
                remedy=_fill_in(group, values),
            )
    if values.given("alias") and method in _WITHOUT_ALIAS:
        able = [choice.value for choice in field("auth_method").choices if choice.value not in _WITHOUT_ALIAS]
        raise wrong(
            field("alias"),
            f"{field('auth_method').name} {label} cannot open another account's mailbox",
            value=values.text("alias"),
            remedy=f"Methods that can are {', '.join(able)}.",
        )
    _token_material_fits(values, method)
    return AuthSettings(
        method=method,
        login=values.text("login"),
        password=values.text("password"),
        alias=values.text("alias"),
        oauth=_oauth_settings(values) if method.startswith("oauth-") else shared(OAuthSettings()),
    )


def tls_settings(values: Values, security: Security) -> TlsSettings:
    """How the server proves itself, and what is good enough as encryption."""
    if security == "none":
        _nothing_asks_for_protection(values)
        # A token endpoint is encrypted and checked all the same; and CA bundle is for signatures of mails too, so it is
        # no contradiction.
        if _wants_token(values):
            return TlsSettings(ca_bundle=values.text("ca_bundle"), strict_x509=values.flag("strict_x509"))
        return TlsSettings()
    verify = cast("Verification", values.text("verify", "full"))
    if verify == "pinned" and not values.given("pins"):
        raise wrong(
            field("pins"),
            f"there is none, and {field('verify').name} Pinned only needs at least one",
            remedy="Fill in the SHA-256 fingerprint of the server's certificate.",
        )
    certificate, key = values.text("client_certificate"), values.text("client_private_key")
    if key.startswith("-----BEGIN") and "-----BEGIN CERTIFICATE" not in key and not certificate:
        raise wrong(field("client_certificate"), f"it is empty, and {field('client_private_key').name} has none in it")
    if certificate.startswith("-----BEGIN") and not key:
        raise wrong(field("client_private_key"), f"it is empty, and {field('client_certificate').name} has none in it")
    _passphrase_has_a_key(values, "client_private_key_passphrase", "client_private_key", "client_certificate")
    return TlsSettings(
        versions=values.items("tls_versions", TlsSettings.versions),
        verify=verify,
        # A token endpoint is always checked in full, whatever the mail server need not stand up to.
        ca_bundle=values.text("ca_bundle") if verify in ("full", "chain") or _wants_token(values) else "",
        pins=values.items("pins"),
        client_certificate=certificate,
        client_private_key=key,
        client_private_key_passphrase=values.text("client_private_key_passphrase"),
        server_name=values.text("server_name"),
        strict_x509=values.flag("strict_x509"),
    )


def tunnel_settings(values: Values, host: str) -> TunnelSettings:
    """The proxy on the way to the server."""
    kind = values.text("tunnel_type")
    if not kind:
        if filled := [key for key in _TUNNEL if values.given(key) and values.get(key) != "auto"]:
            raise wrong(
                field("tunnel_type"),
                f"it is empty, so {_names(filled)} would have no effect",
                remedy="Choose a type; or No proxy (none), which keeps the other fields without using them.",
            )
        return TunnelSettings()
    if kind == "none":
        return TunnelSettings()
    needs = f"and {field('tunnel_type').name} {kind} needs it"
    if not values.given("tunnel_host"):
        raise wrong(field("tunnel_host"), f"it is empty, {needs}", remedy="Fill it in, or choose No proxy (none).")
    port = values.integer("tunnel_port") or (SOCKS_PORT if kind.startswith("socks") else None)
    if port is None:
        raise wrong(field("tunnel_port"), f"it is empty, {needs}", remedy="Often it is 3128 or 8080.")
    _tunnel_credentials(values, kind)
    # Tokens are asked for through the proxy too.
    endpoint = urlsplit(values.text("oauth_endpoint")).hostname if _wants_token(values) else None
    hosts = [host, endpoint] if endpoint else [host]
    if kind == "socks4" and values.flag("tunnel_remote_dns") and not all(map(is_address, hosts)):
        raise wrong(
            field("tunnel_remote_dns"),
            "it is on, and SOCKS4 cannot resolve names"
            + ("" if not is_address(host) else f", as {field('oauth_endpoint').name} has one"),
            remedy="Choose socks4a as Proxy type, or switch it off so that names are resolved on this side.",
        )
    if kind.startswith("socks4") and ":" in host:
        raise wrong(
            field("tunnel_type"),
            f"{kind} knows no IPv6 addresses, and {field('host').name} is {host}",
            value=kind,
            remedy="Choose socks5 or http.",
        )
    return TunnelSettings(
        type=kind,
        host=values.text("tunnel_host"),
        port=port,
        auth=values.text("tunnel_auth", "auto"),
        use_credentials=values.flag("tunnel_use_credentials"),
        domain=values.text("tunnel_domain"),
        login=values.text("tunnel_login"),
        password=values.text("tunnel_password"),
        remote_dns=values.flag("tunnel_remote_dns"),
    )


def smime_settings(values: Values) -> SmimeSettings:
    """What opens encrypted mails, and whose signatures are believed."""
    _passphrase_has_a_key(values, "smime_private_key_passphrase", "smime_private_key")
    # Whatever the server's certificate is checked for, a signature without an issuer that is trusted says nothing.
    return SmimeSettings(
        private_key=values.text("smime_private_key"),
        passphrase=values.text("smime_private_key_passphrase"),
        issuers=values.text("ca_bundle"),
    )


def _oauth_has_a_method(values: Values, method: str) -> None:
    filled = [key for key in _OAUTH if values.given(key) and key not in values.filled]
    if filled and method == "auto":
        raise wrong(
            field("auth_method"),
            f"automatic means a password, so {_names(filled)} would have no effect",
            value=method,
            remedy="Choose a method of OAuth; or login or plain, which keep these fields without using them.",
        )


def _wants_token(values: Values) -> bool:
    return values.text("auth_method").startswith("oauth-")


def _oauth_settings(values: Values) -> OAuthSettings:
    return OAuthSettings(
        tenant=values.text("oauth_tenant"),
        client_id=values.text("oauth_client_id"),
        client_secret=values.text("oauth_client_secret"),
        refresh_token=values.text("oauth_refresh_token"),
        endpoint=values.text("oauth_endpoint"),
        scope=values.text("oauth_scope"),
        private_key=values.text("oauth_private_key"),
    )


def _token_material_fits(values: Values, method: str) -> None:
    if method == "bearer" and not _BEARER_TOKEN.fullmatch(values.text("password")):
        raise wrong(
            field("password"),
            "it is no bearer token, which consists of printable ASCII characters without blanks",
            remedy="Paste the token alone, without the word Bearer.",
        )
    if not method.startswith("oauth-"):
        return
    tenant = values.text("oauth_tenant")
    if tenant and not _TENANT.fullmatch(tenant):
        raise wrong(
            field("oauth_tenant"),
            "it must be an id or a domain",
            value=tenant,
            remedy="Such as example.onmicrosoft.com.",
        )
    preset = values.text("preset", "custom")
    if method == "oauth-service-account" and "{tenant}" in PRESETS[preset].endpoint:
        raise wrong(
            field("preset"),
            "its servers are Microsoft's, which let no service account of Google in",
            value=preset,
            remedy="Choose gmail, or another Method (auth_method).",
        )
    key = values.text("oauth_private_key")
    inline = bool(key) and not is_path(key)
    if method == "oauth-service-account" and inline and not key.startswith("{"):
        raise wrong(
            field("oauth_private_key"),
            "it is no service account's JSON",
            remedy="Paste the whole JSON file that Google Cloud gave for the service account's key.",
        )
    if method != "oauth-service-account" and key.startswith("{") and not values.given("oauth_client_secret"):
        raise wrong(
            field("oauth_private_key"),
            "it is a service account's JSON, which only Google takes",
            remedy="Choose oauth-service-account as Method (auth_method), or give a certificate with its key.",
        )


def _fill_in(group: tuple[str, ...], values: Values) -> str:
    remedy = f"Fill in {' or '.join(field(key).name for key in group)}, or choose another method."
    if "auth_method" in values.filled:
        preset = values.text("preset")
        chosen = field("preset").choice(preset)
        remedy += f" The method comes from Server preset (preset) {chosen.label if chosen else preset}"
        remedy += f": {PRESETS[preset].reason}." if PRESETS[preset].reason else "."
    return remedy


def _nothing_asks_for_protection(values: Values) -> None:
    if asking := [key for key in _PROTECTION if values.given(key) and values.get(key) != "none"]:
        raise wrong(
            field("encryption"),
            f"this contradicts {_names(asking)}",
            value="none",
            remedy="Empty these, or choose ssl or tls.",
        )


def _passphrase_has_a_key(values: Values, passphrase: str, *keys: str) -> None:
    if values.given(passphrase) and not any(values.given(key) for key in keys):
        raise wrong(field(passphrase), f"it is filled in, but there is no {field(keys[0]).name} that it could open")


def _tunnel_credentials(values: Values, kind: str) -> None:
    method = values.text("tunnel_auth", "auto")
    if method != "auto" and kind != "http":
        raise _not_with(field("tunnel_auth"), kind, "Choose auto.", method)
    if not values.flag("tunnel_use_credentials"):
        return
    if values.given("tunnel_domain") and (kind != "http" or method == "digest"):
        other = kind if kind != "http" else method
        raise _not_with(field("tunnel_domain"), other, "Empty it.", values.text("tunnel_domain"))
    if values.given("tunnel_password") and kind.startswith("socks4"):
        raise _not_with(field("tunnel_password"), kind, "Empty it, or choose socks5.")
    if not values.given("tunnel_login") and (method != "auto" or values.given("tunnel_password")):
        raise wrong(
            field("tunnel_login"),
            "it is empty, and the credentials are not complete without it",
            remedy=f"Fill it in, or switch off {field('tunnel_use_credentials').name}.",
        )


def _not_with(spec: Field, other: str, remedy: str, value: str | None = None) -> SettingsError:
    return wrong(spec, f"{other} has no such thing", value=value, remedy=remedy)


def _names(keys: list[str]) -> str:
    return ", ".join(field(key).name for key in keys)
