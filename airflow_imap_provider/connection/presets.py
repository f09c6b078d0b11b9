"""What is known of the big mail providers.

A preset fills what is left empty and never changes what is filled in. Whether a provider still accepts passwords
decides its authentication method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_imap_provider.connection.limits import IMPLICIT_PORT
from airflow_imap_provider.connection.values import Value, Values

__all__ = ["PRESETS", "Preset", "fill"]

_MICROSOFT_ENDPOINT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
_MICROSOFT_SCOPES = {
    "oauth-client-credentials": "https://outlook.office365.com/.default",
    "oauth-refresh-token": "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
}


@dataclass(frozen=True)
class Preset:
    """One provider.

    :param auth_method: what an account there can log in with by default.
    :param tenant: Microsoft's directory for accounts that name none; empty elsewhere.
    :param endpoint: OAuth token endpoint; ``{tenant}`` is filled in.
    :param scopes: OAuth scope by method.
    :param reason: why ``auth_method`` is not a password, one clause.
    """

    host: str
    auth_method: str = "auto"
    tenant: str = ""
    endpoint: str = ""
    scopes: Mapping[str, str] | None = None
    reason: str = ""


PRESETS: Mapping[str, Preset] = {
    "custom": Preset(""),
    "office365": Preset(
        "outlook.office365.com",
        "oauth-client-credentials",
        "organizations",
        _MICROSOFT_ENDPOINT,
        _MICROSOFT_SCOPES,
        "Microsoft no longer accepts passwords for IMAP",
    ),
    "gmail": Preset(
        "imap.gmail.com",
        endpoint="https://oauth2.googleapis.com/token",
        scopes={
            "oauth-refresh-token": "https://mail.google.com/",
            "oauth-service-account": "https://mail.google.com/",
        },
    ),
    "outlook": Preset(
        "outlook.office365.com",
        "oauth-refresh-token",
        "consumers",
        _MICROSOFT_ENDPOINT,
        _MICROSOFT_SCOPES,
        "Microsoft no longer accepts passwords for IMAP",
    ),
    "yahoo": Preset("imap.mail.yahoo.com"),
    "icloud": Preset("imap.mail.me.com"),
    "fastmail": Preset("imap.fastmail.com"),
    "zoho": Preset("imap.zoho.com"),
    "gmx": Preset("imap.gmx.net"),
}

_TENANT_ONLY = Preset("", endpoint=_MICROSOFT_ENDPOINT, scopes=_MICROSOFT_SCOPES)  # only Microsoft has tenants


def fill(values: Mapping[str, Value]) -> Values:
    """The values with what the preset, or a Microsoft tenant, adds to them."""
    given = Values(values)
    preset = PRESETS[given.text("preset", "custom")]
    added: dict[str, Value] = {}
    if preset.host:
        added["host"] = preset.host
        added["auth_method"] = "oauth-refresh-token" if _prefers_refresh_token(given, preset) else preset.auth_method
        added["encryption"] = "ssl"
        if given.text("encryption") != "none" and given.text("security_mode") != "explicit":
            added["port"] = IMPLICIT_PORT
    method = given.text("auth_method") or str(added.get("auth_method", "auto"))
    if method.startswith("oauth-"):
        added |= _oauth(preset if preset.endpoint else _TENANT_ONLY, method, given.text("oauth_tenant"))
    added = {key: value for key, value in added.items() if value and key not in values}
    return Values({**added, **values}, filled=frozenset(added))


def _prefers_refresh_token(given: Values, preset: Preset) -> bool:
    return preset.auth_method.startswith("oauth-") and given.given("oauth_refresh_token")


def _oauth(preset: Preset, method: str, tenant: str) -> dict[str, Value]:
    if method not in (preset.scopes or {}):
        return {}  # Google's service accounts know their endpoint themselves, whatever Microsoft's is
    tenant = tenant or (preset.tenant if method == "oauth-refresh-token" else "")
    if not tenant and "{tenant}" in preset.endpoint:
        return {"oauth_scope": (preset.scopes or {}).get(method, "")} if preset.host else {}
    return {
        "oauth_endpoint": preset.endpoint.replace("{tenant}", tenant),
        "oauth_scope": (preset.scopes or {}).get(method, ""),
    }
