"""Real proxies, one row for each type and way of logging in: a session with Dovecot, and what is wrong explained.

Every row also looks for the secrets in everything that could be shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import AuthSettings, Settings, TunnelSettings
from airflow_imap_provider.errors import ImapError, ImapTimeoutError, ProxyAuthenticationError, ProxyError
from airflow_imap_provider.transport.session import open_session
from tests.servers.daemon import Daemon
from tests.servers.dovecot import Dovecot, User
from tests.servers.proxies import ASCII_PASSWORD, LOGIN, PASSWORD
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.squid import REFUSED_PORT
from tests.servers.winbind import ACCOUNT, DOMAIN
from tests.transport.conftest import Opener
from tests.transport.test_secrets import everything_about, forms

Start = Callable[[str], Daemon]

WRONG = "wr0ng-but-s3cret"
SQUID, WINBIND, DANTE = pytest.mark.squid, pytest.mark.winbind, pytest.mark.dante
MICROSOCKS, TINYPROXY, SSH = pytest.mark.microsocks, pytest.mark.tinyproxy, pytest.mark.ssh
NTLM = (SQUID, WINBIND)

JOE = {"login": LOGIN, "password": PASSWORD}
ASCII_JOE = {"login": LOGIN, "password": ASCII_PASSWORD}
IMPOSTOR = {"login": LOGIN, "password": WRONG}
IN_DOMAIN = {"login": ACCOUNT, "password": PASSWORD, "domain": DOMAIN}


def row(proxy: str, kind: str, *expected: object, marks: Any, **tunnel: Any) -> Any:
    label = ", ".join([proxy, kind, *(f"{key}={value}" for key, value in tunnel.items())])
    return pytest.param(
        proxy, {"type": kind, **tunnel}, *expected, marks=marks, id=label.encode("ascii", "replace").decode()
    )


GOOD = [
    row("squid", "http", marks=SQUID),
    row("squid", "http", marks=SQUID, remote_dns=False),
    row("squid", "http", marks=SQUID, **JOE),  # it does not ask
    row("squid with basic", "http", marks=SQUID, **JOE),
    row("squid with basic", "http", marks=SQUID, auth="basic", **JOE),
    row("squid with digest", "http", marks=SQUID, **JOE),
    row("squid with digest", "http", marks=SQUID, auth="digest", **JOE),
    row("squid with ntlm", "http", marks=NTLM, **IN_DOMAIN),
    row("squid with ntlm", "http", marks=NTLM, auth="ntlm", **IN_DOMAIN),
    row("squid with ntlm", "http", marks=NTLM, login=f"{DOMAIN}\\{ACCOUNT}", password=PASSWORD),
    row("squid with all", "http", marks=NTLM, **JOE),
    row("squid with all", "http", marks=NTLM, **IN_DOMAIN),
    row("squid with all", "http", marks=NTLM, auth="basic", **JOE),
    row("tinyproxy", "http", marks=TINYPROXY),
    row("tinyproxy", "http", marks=TINYPROXY, remote_dns=False),
    row("tinyproxy with login", "http", marks=TINYPROXY, **ASCII_JOE),
    row("tinyproxy with login", "http", marks=TINYPROXY, auth="basic", **ASCII_JOE),
    row("dante", "socks4", marks=DANTE, remote_dns=False),
    row("dante", "socks4", marks=DANTE, remote_dns=False, login=LOGIN),
    row("dante", "socks4a", marks=DANTE, remote_dns=False),
    row("ssh", "socks4a", marks=SSH),
    row("ssh", "socks4a", marks=SSH, login=LOGIN),
    row("ssh", "socks4", marks=SSH, remote_dns=False),
    row("ssh", "socks5", marks=SSH),
    row("dante", "socks5", marks=DANTE),
    row("dante", "socks5", marks=DANTE, remote_dns=False),
    row("dante", "socks5", marks=DANTE, **JOE),  # it does not ask
    row("microsocks", "socks5", marks=MICROSOCKS),
    row("microsocks", "socks5", marks=MICROSOCKS, remote_dns=False),
    row("microsocks with login", "socks5", marks=MICROSOCKS, **JOE),
    row("microsocks with login", "socks5", marks=MICROSOCKS, remote_dns=False, **JOE),
]

REFUSED, WANTED = "does not accept the login", "wants a login"
OFF = {"use_credentials": False}

BAD = [
    row("squid with basic", "http", ProxyAuthenticationError, REFUSED, marks=SQUID, **IMPOSTOR),
    row("squid with basic", "http", ProxyAuthenticationError, WANTED, marks=SQUID),
    row("squid with basic", "http", ProxyAuthenticationError, WANTED, marks=SQUID, **JOE, **OFF),
    row("squid with basic", "http", ProxyAuthenticationError, "offers Basic", marks=SQUID, auth="digest", **JOE),
    row("squid with digest", "http", ProxyAuthenticationError, REFUSED, marks=SQUID, **IMPOSTOR),
    row("squid with digest", "http", ProxyAuthenticationError, WANTED, marks=SQUID, **JOE, **OFF),
    row("squid with digest", "http", ProxyAuthenticationError, "offers Digest", marks=SQUID, auth="basic", **JOE),
    row("squid with ntlm", "http", ProxyAuthenticationError, REFUSED, marks=NTLM, **{**IN_DOMAIN, "password": WRONG}),
    row("squid with ntlm", "http", ProxyAuthenticationError, REFUSED, marks=NTLM, **{**IN_DOMAIN, "login": LOGIN}),
    row(
        "squid with ntlm", "http", ProxyAuthenticationError, REFUSED, marks=NTLM, **{**IN_DOMAIN, "domain": "ELSEWHERE"}
    ),
    row("squid with ntlm", "http", ProxyAuthenticationError, WANTED, marks=NTLM, **IN_DOMAIN, **OFF),
    row("tinyproxy with login", "http", ProxyAuthenticationError, REFUSED, marks=TINYPROXY, **IMPOSTOR),
    row("tinyproxy with login", "http", ProxyAuthenticationError, WANTED, marks=TINYPROXY, **ASCII_JOE, **OFF),
    row("microsocks with login", "socks5", ProxyAuthenticationError, REFUSED, marks=MICROSOCKS, **IMPOSTOR),
    row("microsocks with login", "socks5", ProxyAuthenticationError, WANTED, marks=MICROSOCKS),
    row("microsocks with login", "socks5", ProxyAuthenticationError, WANTED, marks=MICROSOCKS, **JOE, **OFF),
    # The wrong type for the port.
    row("microsocks", "http", ProxyError, "is a SOCKS5 proxy", marks=MICROSOCKS),
    row("microsocks", "socks4a", ProxyError, "is a SOCKS5 proxy", marks=MICROSOCKS),
    row("squid", "socks5", ImapTimeoutError, "Check Proxy type", marks=SQUID),
    row("tinyproxy", "socks4a", ImapTimeoutError, "Check Proxy type", marks=TINYPROXY),
]

# Where the proxy cannot or will not go: host, port, words.
CLOSED_PORT, RULES, NAME = ("localhost", 1), ("localhost", REFUSED_PORT), ("no-such-host.invalid", 993)
ELSEWHERE = [
    row("squid", "http", *CLOSED_PORT, "answers 503.*Address \\(host\\) and Port", marks=SQUID),
    row("squid", "http", *RULES, "answers 403.*operator to allow", marks=SQUID),
    row("squid", "http", *NAME, "answers 50[03].*tunnel_remote_dns", marks=SQUID),
    row("tinyproxy", "http", *CLOSED_PORT, "answers 500.*Address \\(host\\) and Port", marks=TINYPROXY),
    row("tinyproxy", "http", *NAME, "answers 500.*tunnel_remote_dns", marks=TINYPROXY),
    row("dante", "socks5", *CLOSED_PORT, "5: Connection refused", marks=DANTE),
    row("dante", "socks5", *RULES, "2: .*not allowed.*operator to allow", marks=DANTE),
    row("dante", "socks5", *NAME, "[14]: .*tunnel_remote_dns", marks=DANTE),
    row("dante", "socks4", *CLOSED_PORT, "91: .*rejected or failed", marks=DANTE, remote_dns=False),
    # Dante 1.4.2 takes the 0.0.0.1 that announces a name for the address to connect to, so it can only refuse.
    row("dante", "socks4a", "localhost", 993, "91: .*rejected or failed", marks=DANTE),
    row("ssh", "socks4a", *CLOSED_PORT, "closed the connection|91: .*rejected", marks=SSH),
    row("microsocks", "socks5", *CLOSED_PORT, "5: Connection refused", marks=MICROSOCKS),
    row("microsocks", "socks5", *NAME, "1: General.*tunnel_remote_dns", marks=MICROSOCKS),
]


@pytest.fixture
def scan(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], None]]:
    """Asserts that a text holds none of the matrix's secrets; and at the end that no log line of the test does."""

    def check(text: str) -> None:
        for secret in (PASSWORD, ASCII_PASSWORD, WRONG, "mailbox-s3cret"):
            for form in (*forms(secret), secret.encode().decode("latin-1")):
                assert form not in text

    with caplog.at_level(logging.DEBUG):
        yield check
    check(caplog.text)


def settings(dovecot: Dovecot, user: User, proxy: Daemon, tunnel: dict[str, Any], **changes: Any) -> Settings:
    return dovecot.settings(
        user, **{"host": "localhost", "tunnel": TunnelSettings(host=proxy.host, port=proxy.port, **tunnel), **changes}
    )


@pytest.mark.dovecot
@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
@pytest.mark.parametrize(("proxy", "tunnel"), GOOD)
def test_a_session_is_opened_through_the_proxy(
    proxy: str,
    tunnel: dict[str, Any],
    security: str,
    dovecot: Dovecot,
    proxies: Start,
    opened: Opener,
    scan: Callable[[str], None],
) -> None:
    user = dovecot.new_user("mailbox-s3cret")
    given = settings(dovecot, user, proxies(proxy), tunnel, security=security)
    session = opened(given)
    assert session.server_name == "Dovecot"
    assert session.select("INBOX", readonly=True).exists == 0
    scan(repr(given) + repr(vars(session)))
    # It came through the proxy: its other end is there.
    assert session.client.socket().getpeername()[1] == given.tunnel.port


@pytest.mark.dovecot
@pytest.mark.parametrize(("proxy", "tunnel", "error", "words"), BAD)
def test_a_login_that_is_wrong_or_missing_is_explained(
    proxy: str,
    tunnel: dict[str, Any],
    error: type[ImapError],
    words: str,
    dovecot: Dovecot,
    user: User,
    proxies: Start,
    scan: Callable[[str], None],
) -> None:
    given = settings(dovecot, user, proxies(proxy), tunnel, timeout=1 if error is ImapTimeoutError else 20)
    with pytest.raises(error, match=words) as caught:
        open_session(given)
    assert caught.value.stage == "proxy"
    assert caught.value.remedy
    scan(everything_about(caught.value))


@pytest.mark.parametrize(("proxy", "tunnel", "host", "port", "words"), ELSEWHERE)
def test_where_the_proxy_cannot_or_will_not_go_is_explained(
    proxy: str, tunnel: dict[str, Any], host: str, port: int, words: str, proxies: Start, scan: Callable[[str], None]
) -> None:
    running = proxies(proxy)
    given = Settings(
        conn_id="x",
        host=host,
        port=port,
        timeout=20,
        auth=AuthSettings(login="alice", password="mailbox-s3cret"),
        tunnel=TunnelSettings(host=running.host, port=running.port, **tunnel),
    )
    with pytest.raises(ProxyError, match=words) as caught:
        open_session(given)
    assert caught.value.stage == "proxy"
    assert type(caught.value) is ProxyError
    scan(everything_about(caught.value))


@pytest.mark.parametrize(
    ("proxy", "tunnel"),
    [
        row("squid", "http", marks=SQUID),
        row("tinyproxy", "http", marks=TINYPROXY),
        row("microsocks", "socks5", marks=MICROSOCKS),
        row("dante", "socks5", marks=DANTE),
    ],
)
@pytest.mark.parametrize("remote_dns", [True, False])
def test_an_ipv6_server_is_reached_through_the_proxy(
    proxy: str, tunnel: dict[str, Any], remote_dns: bool, proxies: Start, opened: Opener
) -> None:
    running = proxies(proxy)
    with ScriptedServer(Peer.let_in, host="::1") as server:
        tunnel_settings = TunnelSettings(host=running.host, port=running.port, remote_dns=remote_dns, **tunnel)
        auth = AuthSettings(login="alice", password="mailbox-s3cret")
        session = opened(
            Settings("x", "::1", port=server.port, security="none", timeout=20, auth=auth, tunnel=tunnel_settings)
        )
        assert session.usable


@pytest.mark.dovecot
@pytest.mark.parametrize(
    ("proxy", "tunnel"),
    [
        row("squid with ntlm", "http", marks=NTLM, **IN_DOMAIN),
        row("squid with digest", "http", marks=SQUID, **JOE),
        row("tinyproxy with login", "http", marks=TINYPROXY, **ASCII_JOE),
        row("dante", "socks4", marks=DANTE, remote_dns=False),
        row("ssh", "socks4a", marks=SSH),
        row("microsocks with login", "socks5", marks=MICROSOCKS, **JOE),
    ],
)
def test_thirty_sessions_of_thirty_are_opened(
    proxy: str, tunnel: dict[str, Any], dovecot: Dovecot, user: User, proxies: Start
) -> None:
    given = settings(dovecot, user, proxies(proxy), tunnel, security="none")
    for _ in range(30):
        session = open_session(given)
        session.noop()
        session.close()


def echo(peer: Peer) -> None:
    """A proxy that repeats what it is told in every place that we could show."""
    with suppress(UnicodeDecodeError):
        heard = []
        while line := peer.line():
            heard.append(line)
        words = " ".join(heard)
        if "Proxy-Authorization" in words:
            peer.send(f"HTTP/1.1 403 {words}", f"X-Squid-Error: {words} {' '.join(forms(PASSWORD))}", "")
        else:
            peer.send("HTTP/1.1 407 who?", 'Proxy-Authenticate: Basic realm="r"', "Content-Length: 0", "")
            echo(peer)


@pytest.mark.parametrize("domain", ["", DOMAIN])
def test_a_proxy_that_repeats_the_password_does_not_bring_it_into_the_error(
    domain: str, scan: Callable[[str], None]
) -> None:
    with ScriptedServer(echo) as server:
        tunnel = TunnelSettings(type="http", host=server.host, port=server.port, domain=domain, **JOE)
        with pytest.raises(ProxyError, match=r"\*\*\*") as caught:
            open_session(Settings("x", "imap.example.com", tunnel=tunnel, timeout=5))
        sent = next(line for line in server.received.decode().split("\r\n") if line.startswith("Proxy-Authorization"))
    scan(everything_about(caught.value))
    assert sent.split()[-1] not in everything_about(caught.value)


def test_a_proxy_that_offers_the_password_as_a_way_of_logging_in_does_not_bring_it_into_the_error(
    scan: Callable[[str], None],
) -> None:
    def script(peer: Peer) -> None:
        while peer.line():
            pass
        peer.send("HTTP/1.1 407 who?", f"Proxy-Authenticate: {ASCII_PASSWORD}", "Content-Length: 0", "")

    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(type="http", host=server.host, port=server.port, **ASCII_JOE)
        with pytest.raises(ProxyAuthenticationError, match=r"offers \*\*\*") as caught:
            open_session(Settings("x", "imap.example.com", tunnel=tunnel, timeout=5))
    scan(everything_about(caught.value))
