"""Token requests and mail through the same proxy, of every kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import TunnelSettings
from airflow_imap_provider.errors import ImapTimeoutError, ProxyAuthenticationError, ProxyError
from airflow_imap_provider.transport.session import open_session
from tests.servers.daemon import Daemon
from tests.servers.proxies import ASCII_PASSWORD, PASSWORD
from tests.servers.squid import REFUSED_PORT
from tests.servers.waiting import wait_until
from tests.transport.conftest import Opener
from tests.transport.oauth.showing import check_nothing_shows
from tests.transport.oauth_server import OAuthWorld, oauth_servers, world
from tests.transport.proxy.test_matrix import (
    ASCII_JOE,
    DANTE,
    IN_DOMAIN,
    JOE,
    MICROSOCKS,
    NTLM,
    SQUID,
    SSH,
    TINYPROXY,
    row,
)

__all__ = ["oauth_servers", "world"]

pytestmark = pytest.mark.dovecot

Start = Callable[[str], Daemon]

KINDS = [
    row("squid", "http", marks=SQUID),
    row("squid", "http", marks=SQUID, remote_dns=False),
    row("squid with basic", "http", marks=SQUID, **JOE),
    row("squid with digest", "http", marks=SQUID, **JOE),
    row("squid with ntlm", "http", marks=NTLM, **IN_DOMAIN),
    row("squid with ntlm", "http", marks=NTLM, auth="ntlm", **IN_DOMAIN),
    row("tinyproxy with login", "http", marks=TINYPROXY, **ASCII_JOE),
    row("dante", "socks4", marks=DANTE, remote_dns=False),
    row("ssh", "socks4a", marks=SSH),
    row("dante", "socks5", marks=DANTE),
    row("microsocks with login", "socks5", marks=MICROSOCKS, **JOE),
    row("microsocks with login", "socks5", marks=MICROSOCKS, remote_dns=False, **JOE),
]


@pytest.mark.parametrize("method", [OAuthWorld.by_secret, OAuthWorld.by_certificate, OAuthWorld.by_service_account])
@pytest.mark.parametrize(("proxy", "tunnel"), KINDS)
def test_token_and_mail_go_through_the_proxy(
    proxy: str,
    tunnel: dict[str, Any],
    method: Callable[..., Any],
    world: OAuthWorld,
    proxies: Start,
    opened: Opener,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = proxies(proxy)
    user = world.dovecot.new_user()
    way = TunnelSettings(host=running.host, port=running.port, **tunnel)
    settings = world.settings(user, method(world, user), host="localhost", tunnel=way)
    with caplog.at_level(logging.DEBUG):
        session = opened(settings)
        assert session.select("INBOX", readonly=True).exists == 0
        assert session.client.socket().getpeername()[1] == running.port
        assert len(world.endpoint.forms) == 1
    check_nothing_shows(world, settings, caplog.text + repr(settings) + repr(vars(session)), PASSWORD, ASCII_PASSWORD)


@pytest.mark.squid
def test_the_proxy_sees_where_the_requests_go_and_nothing_of_them(
    world: OAuthWorld, proxies: Start, opened: Opener
) -> None:
    squid = proxies("squid")
    user = world.dovecot.new_user()
    way = TunnelSettings("http", squid.host, squid.port)
    assert opened(world.settings(user, world.by_secret(user), host="localhost", tunnel=way)).usable
    wait_until(lambda: f"CONNECT localhost:{world.endpoint.port}" in squid.log(), "Squid logs the request")
    assert world.endpoint.headers[0].get("Via") is None


@pytest.mark.squid
def test_a_proxy_that_refuses_is_told_for_the_endpoint_and_not_for_the_mail_server(
    world: OAuthWorld, proxies: Start
) -> None:
    user = world.dovecot.new_user()
    squid = proxies("squid")
    auth = world.by_secret(user)
    for port, words in ((REFUSED_PORT, "answers 403"), (1, "answers 503")):
        oauth = replace(auth.oauth, endpoint=f"https://localhost:{port}/token")
        way = TunnelSettings("http", squid.host, squid.port)
        with pytest.raises(ProxyError, match=rf"token endpoint localhost port {port}: the proxy {words}") as caught:
            open_session(world.settings(user, replace(auth, oauth=oauth), tunnel=way))
        assert caught.value.stage == "proxy"
        assert "(host)" not in caught.value.remedy
        assert "mail server" not in caught.value.remedy


@pytest.mark.squid
def test_a_wrong_proxy_login_is_told_as_one(world: OAuthWorld, proxies: Start) -> None:
    user = world.dovecot.new_user()
    squid = proxies("squid with basic")
    way = TunnelSettings("http", squid.host, squid.port, login="proxy-joe", password="wr0ng-but-s3cret")
    with pytest.raises(ProxyAuthenticationError, match="on the way to the token endpoint") as caught:
        open_session(world.settings(user, world.by_secret(user), tunnel=way))
    assert "wr0ng" not in str(caught.value)
    assert world.endpoint.forms == []


@pytest.mark.microsocks
def test_a_dripping_endpoint_behind_a_proxy_has_no_more_time(world: OAuthWorld, proxies: Start) -> None:
    world.endpoint.misbehave = lambda peer: peer.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000)
    socks = proxies("microsocks")
    user = world.dovecot.new_user()
    way = TunnelSettings("socks5", socks.host, socks.port)
    with pytest.raises(ImapTimeoutError) as caught:
        open_session(world.settings(user, world.by_secret(user), tunnel=way, timeout=1))
    assert caught.value.stage == "token"
