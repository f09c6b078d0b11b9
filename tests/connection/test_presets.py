"""Presets: the exact defaults of each, in fields that are empty, whatever else is filled in."""

from __future__ import annotations

from itertools import chain, combinations
from operator import attrgetter
from typing import Any

import pytest

from airflow_imap_provider.connection.presets import PRESETS
from airflow_imap_provider.connection.settings import Settings
from airflow_imap_provider.errors import SettingsError

from .builders import connect

PASSWORD_ACCEPTED = {
    "gmail": "imap.gmail.com",
    "yahoo": "imap.mail.yahoo.com",
    "icloud": "imap.mail.me.com",
    "fastmail": "imap.fastmail.com",
    "zoho": "imap.zoho.com",
    "gmx": "imap.gmx.net",
}
MICROSOFT = {"office365": "oauth-client-credentials", "outlook": "oauth-refresh-token"}

# Every field that a preset can fill: another value than any preset has, and where it is found.
FILLED: dict[str, tuple[Any, str, Any]] = {
    "host": ("relay.example.com", "host", "relay.example.com"),
    "port": (1993, "port", 1993),
    "encryption": ("tls", "security", "starttls"),
    "security_mode": ("implicit", "security", "implicit"),
    "auth_method": ("oauth-refresh-token", "auth.method", "oauth-refresh-token"),
    "oauth_endpoint": ("https://login.example.com/token", "auth.oauth.endpoint", "https://login.example.com/token"),
    "oauth_scope": ("of.my.own", "auth.oauth.scope", "of.my.own"),
    "oauth_tenant": ("example.com", "auth.oauth.tenant", "example.com"),
}
SUBSETS = list(chain.from_iterable(combinations(FILLED, size) for size in range(len(FILLED) + 1)))
COMPLETING = {"oauth_client_id": "0000", "oauth_refresh_token": "consent"}
PROVIDERS = [name for name in PRESETS if name != "custom"]


@pytest.mark.parametrize(("name", "host"), PASSWORD_ACCEPTED.items())
def test_an_account_with_a_password_needs_nothing_but_the_preset(name: str, host: str) -> None:
    settings = connect(host=None, preset=name)
    assert (settings.host, settings.port, settings.security) == (host, 993, "implicit")
    assert settings.auth.method == "auto"
    assert settings == connect(host=host, port=993, preset=name, encryption="ssl", auth_method="auto")


@pytest.mark.parametrize(("name", "method"), MICROSOFT.items())
def test_microsoft_wants_oauth_at_one_host_for_both(name: str, method: str) -> None:
    with pytest.raises(SettingsError, match=f"Server preset.*{PRESETS[name].reason}"):
        connect(host=None, preset=name)
    assert PRESETS[name].auth_method == method
    settings = connect(host=None, preset=name, auth_method="plain")
    assert (settings.host, settings.port, settings.security) == ("outlook.office365.com", 993, "implicit")


def test_every_preset_is_in_one_of_the_tables_above() -> None:
    assert sorted(PROVIDERS) == sorted([*PASSWORD_ACCEPTED, *MICROSOFT])


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_is_filled_in_stays_in_every_subset_and_what_is_empty_is_the_presets(name: str) -> None:
    for subset in SUBSETS:
        values = {key: FILLED[key][0] for key in subset}
        settings = settings_of(name, values)
        if settings is None:
            continue
        for key in subset:
            _, path, expected = FILLED[key]
            if key == "encryption" and ("security_mode" in subset or "port" not in subset):
                continue  # the mode goes before it, and so does what the preset's port 993 means
            if key.startswith("oauth") and not settings.auth.method.startswith("oauth"):
                continue  # kept without being used
            assert attrgetter(path)(settings) == expected, (subset, key)
        if "host" not in subset:
            assert settings.host == PRESETS[name].host, subset
        if "port" not in subset:
            assert settings.port == 993, subset
            assert settings.security == "implicit", subset


def settings_of(name: str, values: dict[str, Any]) -> Settings | None:
    """The settings; ``None`` where this subset is refused for lack of something that no preset knows."""
    try:
        return connect(**{"host": None, **COMPLETING, "auth_method": "plain", "preset": name, **values})
    except SettingsError as error:
        if "it is empty" not in error.problem:
            raise
        return None


@pytest.mark.parametrize("written", ["SSLv3", "sslv2", "SSL 3.0", "SSL3", "ssl 2", "SSL 3", "SSLv3.0"])
@pytest.mark.parametrize("preset", ["gmail", "custom"])
def test_the_old_advice_to_take_ssl_3_is_answered_with_why_not_and_what_instead(written: str, preset: str) -> None:
    with pytest.raises(SettingsError, match=r"tab Encryption: Allowed SSL/TLS versions \(tls_versions\)") as caught:
        connect(preset=preset, tls_versions=[written])
    assert f"is '{written}'" in str(caught.value)
    assert "no current OpenSSL has it" in caught.value.problem
    assert "Leave this empty" in caught.value.remedy
