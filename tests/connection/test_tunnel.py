from __future__ import annotations

import contextlib
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import Settings, TunnelSettings
from airflow_imap_provider.errors import SettingsError

from .builders import connect


def tunnel(kind: str, host: str = "imap.example.com", **extra: Any) -> Settings:
    return connect(host=host, tunnel_type=kind, **{"tunnel_host": "proxy.example.com", "tunnel_port": 3128, **extra})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tunnel_host", "proxy.example.com"),
        ("tunnel_port", 3128),
        ("tunnel_auth", "ntlm"),
        ("tunnel_domain", "EXAMPLE"),
        ("tunnel_login", "joe"),
        ("tunnel_password", "secret"),
    ],
)
def test_a_field_of_a_proxy_without_a_type_is_an_error(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=rf"Proxy type \(tunnel_type\): it is empty, so .*\({key}\)"):
        connect(**{key: value})


def test_what_the_form_fills_in_by_itself_asks_for_no_proxy() -> None:
    assert connect(tunnel_use_credentials=True, tunnel_remote_dns=True, tunnel_auth="auto").tunnel == TunnelSettings()


def test_no_proxy_chosen_expressly_keeps_the_other_fields_without_using_them() -> None:
    assert tunnel("none", tunnel_login="joe", tunnel_password="secret") == connect()


def test_a_proxy_needs_its_address() -> None:
    with pytest.raises(SettingsError, match=r"Proxy address \(tunnel_host\): it is empty"):
        tunnel("http", tunnel_host=None)


def test_http_proxies_need_their_port_and_socks_proxies_have_one() -> None:
    with pytest.raises(SettingsError, match=r"Proxy port \(tunnel_port\): it is empty.*3128"):
        tunnel("http", tunnel_port=None)
    assert tunnel("socks5", tunnel_port=None).tunnel.port == 1080


@pytest.mark.parametrize("kind", ["socks4", "socks4a", "socks5"])
@pytest.mark.parametrize("method", ["basic", "digest", "ntlm"])
def test_the_authentication_methods_of_http_are_for_http(kind: str, method: str) -> None:
    with pytest.raises(SettingsError, match=rf"\(tunnel_auth\) is '{method}': {kind} has no such thing"):
        tunnel(kind, tunnel_auth=method, tunnel_login="joe", tunnel_password="secret", tunnel_remote_dns=False)


@pytest.mark.parametrize(("kind", "method"), [("socks5", "auto"), ("http", "digest")])
def test_a_domain_is_for_ntlm_and_basic(kind: str, method: str) -> None:
    with pytest.raises(SettingsError, match=r"\(tunnel_domain\) is 'EXAMPLE'"):
        tunnel(kind, tunnel_auth=method, tunnel_domain="EXAMPLE", tunnel_login="joe")
    assert tunnel("http", tunnel_auth="ntlm", tunnel_domain="EXAMPLE", tunnel_login="joe").tunnel.domain == "EXAMPLE"


@pytest.mark.parametrize("kind", ["socks4", "socks4a"])
def test_socks4_has_no_password(kind: str) -> None:
    with pytest.raises(SettingsError, match=r"\(tunnel_password\): .* has no such thing") as caught:
        tunnel(kind, tunnel_login="joe", tunnel_password="secret", tunnel_remote_dns=False)
    assert "'secret'" not in str(caught.value)


@pytest.mark.parametrize("half", [{"tunnel_password": "secret"}, {"tunnel_auth": "basic"}])
def test_credentials_without_a_username_are_an_error_unless_they_are_switched_off(half: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"Proxy username \(tunnel_login\): it is empty"):
        tunnel("http", **half)
    assert tunnel("http", tunnel_use_credentials=False, **half).tunnel.use_credentials is False


def test_socks4_cannot_resolve_names_and_says_so() -> None:
    with pytest.raises(SettingsError, match=r"\(tunnel_remote_dns\): it is on, and SOCKS4 cannot.*socks4a"):
        tunnel("socks4")
    assert tunnel("socks4", tunnel_remote_dns=False).tunnel.remote_dns is False
    assert tunnel("socks4", host="192.0.2.7").tunnel.type == "socks4"
    assert tunnel("socks4a").tunnel.remote_dns is True


def test_socks4_cannot_resolve_a_token_endpoints_name_either() -> None:
    oauth = {
        "auth_method": "oauth-client-credentials",
        "oauth_client_id": "id",
        "oauth_client_secret": "secret",
        "oauth_scope": "mail",
    }
    for endpoint in ("https://192.0.2.9/token", "https://login.example.com/token"):
        named = "example" in endpoint
        with pytest.raises(SettingsError, match=r"endpoint \(oauth_endpoint\)") if named else contextlib.nullcontext():
            assert tunnel("socks4", host="192.0.2.7", oauth_endpoint=endpoint, **oauth).tunnel.type == "socks4"


@pytest.mark.parametrize("kind", ["socks4", "socks4a"])
def test_socks4_knows_no_ipv6_addresses_and_says_so(kind: str) -> None:
    with pytest.raises(SettingsError, match=r"Proxy type \(tunnel_type\).*no IPv6 addresses.*Choose socks5 or http"):
        tunnel(kind, host="2001:db8::1")
    assert tunnel("socks5", host="[2001:db8::1]").host == "2001:db8::1"
