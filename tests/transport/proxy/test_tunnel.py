"""Tunnels over real sockets, with scripted proxies for what real ones cannot be made to do."""

from __future__ import annotations

import pickle
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import Settings, TlsSettings, TunnelSettings
from airflow_imap_provider.errors import (
    AuthenticationError,
    ConnectError,
    ImapTimeoutError,
    ProxyAuthenticationError,
    ProxyError,
    TlsError,
)
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.servers.waiting import free_port
from tests.transport.conftest import Opener, settings_for
from tests.transport.test_dial import full_listener, resolve_to

CONNECTS = 30
TARGET = "imap.example.com"
OK = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n"
LOG_IN = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    b"Content-Length: 13\r\n\r\n<p>log in</p>"
)
GRANTED4 = b"\0\x5a" + b"\0" * 6
DONE5 = b"\5\0\0\1\x7f\0\0\1\x04\xd2"
GREETING = b"* OK ready\r\n"

Say = Callable[[Peer, bytes], None]


def through(server: ScriptedServer, kind: str, timeout: float = 5, **tunnel: Any) -> Settings:
    """Settings that lead through a scripted proxy to a scripted mail server in the same script."""
    values = {"type": kind, "host": server.host, "port": server.port, **tunnel}
    return settings_for(server, host=TARGET, port=993, timeout=timeout, tunnel=TunnelSettings(**values))


def received(sock: socket.socket, size: int) -> bytes:
    """So many bytes; fewer if the connection ends."""
    data = b""
    while len(data) < size and (chunk := sock.recv(size - len(data))):
        data += chunk
    return data


def within(seconds: float = 5) -> Deadline:
    return Deadline(SYSTEM_CLOCK, seconds)


# -- how a proxy cuts its answers -------------------------------------------------------------------------------------


def coalesced(peer: Peer, data: bytes) -> None:
    peer.send_raw(data)


def split(peer: Peer, data: bytes) -> None:
    middle = len(data) // 2
    for part in (data[:1], data[1:middle], data[middle:-1], data[-1:]):
        peer.send_raw(part)


def dripping(peer: Peer, data: bytes) -> None:
    peer.drip(data, 0.0005)


def http(peer: Peer) -> bytes:
    head(peer)
    return OK


def http_with_login(say: Say) -> Callable[[Peer], bytes]:
    def play(peer: Peer) -> bytes:
        head(peer)
        say(peer, LOG_IN)
        assert any(line.startswith("Proxy-Authorization: Digest ") for line in head(peer))
        return OK

    return play


def socks4(peer: Peer) -> bytes:
    peer.exactly(8)
    peer.exactly(len("joe\0"))
    return GRANTED4


def socks4a(peer: Peer) -> bytes:
    socks4(peer)
    assert peer.exactly(len(TARGET) + 1) == TARGET.encode() + b"\0"
    return GRANTED4


def socks5(say: Say) -> Callable[[Peer], bytes]:
    def play(peer: Peer) -> bytes:
        assert peer.exactly(4) == b"\5\2\0\2"
        say(peer, b"\5\2")
        assert peer.exactly(12) == b"\1\3joe\6s3cret"
        say(peer, b"\1\0")
        peer.exactly(7 + len(TARGET))
        return DONE5

    return play


def head(peer: Peer) -> list[str]:
    """The client's request."""
    lines = []
    while line := peer.line():
        lines.append(line)
    return lines


HANDSHAKES: dict[str, Callable[[Say], Callable[[Peer], bytes]]] = {
    "http": lambda say: http,
    "http with login": http_with_login,
    "socks4": lambda say: socks4,
    "socks4a": lambda say: socks4a,
    "socks5": socks5,
}


@pytest.mark.parametrize("say", [coalesced, split, dripping])
@pytest.mark.parametrize("handshake", HANDSHAKES)
def test_every_one_of_thirty_connects_gets_its_greeting_however_the_proxy_cuts_its_answers(
    handshake: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = handshake.partition(" ")[0]
    resolve = socket.getaddrinfo

    def look_up(host: str, port: int, **options: Any) -> list[Any]:
        return resolve("192.0.2.7" if host == TARGET else host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    def script(peer: Peer) -> None:
        last = HANDSHAKES[handshake](say)(peer)
        # The greeting comes with the proxy's last bytes.
        say(peer, last + GREETING)
        peer.wait_for_end()

    password = {} if kind.startswith("socks4") else {"password": "s3cret"}
    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(
            type=kind, host=server.host, port=server.port, login="joe", remote_dns=kind != "socks4", **password
        )
        for _ in range(CONNECTS):
            with open_tunnel(tunnel, TARGET, 993, within()) as sock:
                assert received(sock, len(GREETING)) == GREETING


def test_a_session_is_opened_through_the_tunnel_with_the_greeting_in_the_proxys_last_packet(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        head(peer)
        peer.send_raw(OK + GREETING)
        peer.tell_capabilities()
        peer.expect("AUTHENTICATE PLAIN")
        peer.ok(words=f"[CAPABILITY {CAPABILITIES}] logged in")

    with ScriptedServer(script) as server:
        assert opened(through(server, "http")).usable
        assert b"CONNECT imap.example.com:993 HTTP/1.1\r\n" in server.received


@pytest.mark.parametrize("security", ["implicit", "starttls"])
def test_encryption_runs_through_the_tunnel_with_the_servers_name(
    security: str, opened: Opener, tls: ssl.SSLContext, trusting: TlsSettings
) -> None:
    def script(peer: Peer) -> None:
        peer.exactly(3)
        peer.send_raw(b"\5\0")
        peer.exactly(7 + len("localhost"))
        peer.send_raw(DONE5)
        if security == "starttls":
            peer.greet(f"{CAPABILITIES} STARTTLS")
            peer.expect("STARTTLS")
            peer.ok()
        peer.starttls(tls)
        if security == "starttls":
            peer.tell_capabilities()
            peer.expect("AUTHENTICATE PLAIN")
            peer.ok(words=f"[CAPABILITY {CAPABILITIES}] logged in")
        else:
            peer.let_in()

    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(type="socks5", host=server.host, port=server.port)
        session = opened(settings_for(server, host="localhost", security=security, tls=trusting, tunnel=tunnel))
        assert session.usable


def test_bytes_before_the_handshake_of_tls_are_not_taken_for_it(opened: Opener, trusting: TlsSettings) -> None:
    def script(peer: Peer) -> None:
        head(peer)
        peer.send_raw(OK + GREETING)
        peer.exactly(1)

    with ScriptedServer(script) as server:
        settings = replace(through(server, "http"), security="implicit", tls=trusting)
        with pytest.raises(TlsError, match="not TLS"):
            opened(settings)


def test_an_ipv6_proxy_and_an_ipv6_server(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        assert head(peer)[0] == "CONNECT [2001:db8::1]:993 HTTP/1.1"
        peer.send_raw(OK)
        peer.let_in()

    with ScriptedServer(script, host="::1") as server:
        tunnel = TunnelSettings(type="http", host="::1", port=server.port)
        assert opened(settings_for(server, host="2001:db8::1", port=993, tunnel=tunnel)).usable


# -- silence ----------------------------------------------------------------------------------------------------------


def silent(peer: Peer) -> None:
    peer._server.stopping.wait()


def dripping_for_ever(beginning: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.exactly(1)
        peer.drip(beginning + b"x" * 10_000, 0.02)

    return script


def silent_after(*exchanges: tuple[int, bytes]) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        for size, answer in exchanges:
            peer.exactly(size)
            peer.send_raw(answer)
        silent(peer)

    return script


@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("http", silent),
        ("http", silent_after((60, b"HTT"))),
        ("http", silent_after((60, b"HTTP/1.1 200 OK\r\nX: y\r\n"))),
        ("http", silent_after((60, LOG_IN[:-3]))),
        ("http", silent_after((60, LOG_IN))),
        ("http", dripping_for_ever(b"HTTP/1.1 200 OK\r\nX: ")),
        ("socks4a", silent),
        ("socks4a", silent_after((20, GRANTED4[:3]))),
        ("socks5", silent),
        ("socks5", silent_after((4, b"\5"))),
        ("socks5", silent_after((4, b"\5\2"), (12, b""))),
        ("socks5", silent_after((4, b"\5\0"), (20, b"\5\0\0\3\xff"))),
        ("socks5", dripping_for_ever(b"\5\0\5\0\0\3\xff")),
    ],
)
def test_a_proxy_that_falls_silent_ends_with_the_deadline_at_stage_proxy(
    kind: str, script: Callable[[Peer], None], opened: Opener
) -> None:
    started = time.monotonic()
    with ScriptedServer(script) as server:
        with pytest.raises(ImapTimeoutError) as caught:
            opened(through(server, kind, timeout=0.4, login="joe", password="" if kind == "socks4a" else "s3cret"))
        assert time.monotonic() - started < 2
    assert caught.value.stage == "proxy"
    assert "tunnel_type" in caught.value.remedy


def test_a_proxy_that_reads_nothing_does_not_matter_for_small_requests_and_times_out(opened: Opener) -> None:
    with full_listener() as full, pytest.raises(ImapTimeoutError) as caught:
        open_tunnel(TunnelSettings(type="http", host="127.0.0.1", port=full.getsockname()[1]), TARGET, 1, within(0.2))
    assert caught.value.stage == "proxy"
    assert "tunnel_host" in caught.value.remedy


# -- proxies that are not there, close, or refuse ---------------------------------------------------------------------


def test_a_proxy_that_is_not_there_is_named_as_such() -> None:
    tunnel = TunnelSettings(type="socks5", host="127.0.0.1", port=free_port())
    with pytest.raises(ConnectError, match=r"proxy: .*refused.*Proxy address \(tunnel_host\)") as caught:
        open_tunnel(tunnel, TARGET, 993, within())
    assert caught.value.stage == "proxy"


def test_a_proxys_name_that_does_not_resolve_is_named_as_such() -> None:
    tunnel = TunnelSettings(type="http", host="no-such-proxy.invalid", port=3128)
    with pytest.raises(ConnectError, match=r"proxy: .*does not resolve.*tunnel_host") as caught:
        open_tunnel(tunnel, TARGET, 993, within())
    assert caught.value.stage == "proxy"


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
@pytest.mark.parametrize("kind", ["http", "socks4a", "socks5"])
@pytest.mark.parametrize("asked", [1, 3])
def test_a_proxy_that_goes_away_is_a_proxy_error(kind: str, end: Callable[[Peer], None], asked: int) -> None:
    def script(peer: Peer) -> None:
        peer.exactly(asked)
        end(peer)

    with ScriptedServer(script) as server, pytest.raises(ProxyError, match="closed the connection") as caught:
        open_tunnel(TunnelSettings(type=kind, host=server.host, port=server.port), TARGET, 993, within())
    assert caught.value.stage == "proxy"


def test_the_last_words_of_a_proxy_that_closes_are_heard() -> None:
    def script(peer: Peer) -> None:
        peer.send_raw(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with ScriptedServer(script) as server, pytest.raises(ProxyError, match=r"answers 403.*answer: 403 Forbidden"):
        open_tunnel(TunnelSettings(type="http", host=server.host, port=server.port), TARGET, 993, within())


def test_a_proxy_that_closes_after_each_407_is_connected_again() -> None:
    def script(peer: Peer) -> None:
        if any(line.startswith("Proxy-Authorization") for line in head(peer)):
            peer.send_raw(OK + GREETING)
            peer.wait_for_end()
        peer.send_raw(LOG_IN)  # it does not say so, and closes

    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(type="http", host=server.host, port=server.port, login="joe", password="x")
        with open_tunnel(tunnel, TARGET, 993, within()) as sock:
            assert received(sock, len(GREETING)) == GREETING


# -- who resolves names -----------------------------------------------------------------------------------------------


def socks5_refusing(*refused: bytes) -> tuple[list[bytes], Callable[[Peer], None]]:
    """A proxy without a login that does not reach these IPv4 addresses; and what it was asked for."""
    asked: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.exactly(3)
        peer.send_raw(b"\5\0")
        if peer.exactly(4)[3] == 3:
            asked.append(peer.exactly(peer.exactly(1)[0]))
        else:
            asked.append(peer.exactly(4))
        peer.exactly(2)
        peer.send_raw(b"\5\4\0\1" + b"\0" * 6 if asked[-1] in refused else DONE5 + GREETING)
        peer.wait_for_end()

    return asked, script


def packed(*addresses: str) -> list[bytes]:
    return [socket.inet_aton(address) for address in addresses]


def test_the_proxy_gets_the_name_if_it_is_to_resolve_it() -> None:
    asked, script = socks5_refusing()
    with ScriptedServer(script) as server:
        open_tunnel(TunnelSettings(type="socks5", host=server.host, port=server.port), TARGET, 993, within()).close()
    assert asked == [TARGET.encode()]


def test_the_proxy_gets_an_address_if_names_are_resolved_here_and_the_next_if_it_does_not_reach_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, script = socks5_refusing(*packed("192.0.2.1"))
    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(type="socks5", host=server.host, port=server.port, remote_dns=False)
        resolve = socket.getaddrinfo

        def look_up(host: str, port: int, **options: Any) -> list[Any]:
            found = [host] if host != TARGET else ["192.0.2.1", "192.0.2.2"]
            return [answer for address in found for answer in resolve(address, port, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        open_tunnel(tunnel, TARGET, 993, within()).close()
    assert asked == packed("192.0.2.1", "192.0.2.2")


def test_an_address_that_the_proxy_waits_for_in_vain_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.exactly(4)
        asked.append(peer.exactly(5))
        if len(asked) == 1:
            peer.wait_for_end()
        else:
            peer.send_raw(GRANTED4 + GREETING)
            peer.wait_for_end()

    with ScriptedServer(script) as server:
        resolve = socket.getaddrinfo

        def look_up(host: str, port: int, **options: Any) -> list[Any]:
            found = [host] if host != TARGET else ["192.0.2.1", "192.0.2.2"]
            return [answer for address in found for answer in resolve(address, port, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        tunnel = TunnelSettings(type="socks4", host=server.host, port=server.port, remote_dns=False)
        with open_tunnel(tunnel, TARGET, 993, within(1)) as sock:
            assert received(sock, len(GREETING)) == GREETING
    assert asked == [address + b"\0" for address in packed("192.0.2.1", "192.0.2.2")]


def test_a_name_that_does_not_resolve_here_is_an_error_of_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)
    tunnel = TunnelSettings(type="socks5", host="127.0.0.1", port=1080, remote_dns=False)
    with pytest.raises(ConnectError, match=r"Address \(host\)") as caught:
        open_tunnel(tunnel, TARGET, 993, within())
    assert caught.value.stage == "dns"


@pytest.mark.parametrize("host", ["x" * 300, "jö.example.com"])
def test_a_name_that_cannot_be_a_name_is_a_connect_error(host: str) -> None:
    with pytest.raises(ConnectError, match="not a possible name"):
        open_tunnel(TunnelSettings(type="socks5", host="127.0.0.1", port=1080), host, 993, within())


# -- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "socks4a", "socks5"])
def test_credentials_that_are_switched_off_are_not_sent(kind: str) -> None:
    def script(peer: Peer) -> None:
        if kind == "http":
            head(peer)
            peer.send_raw(LOG_IN)
        else:
            peer.exactly(9 if kind == "socks4a" else 3)
            peer.send_raw(b"\0\x5b" if kind == "socks4a" else b"\5\xff")
        peer.exactly(1)

    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(
            type=kind, host=server.host, port=server.port, login="joe", password="s3cret", use_credentials=False
        )
        with pytest.raises(ProxyError):
            open_tunnel(tunnel, TARGET, 993, within())
        assert b"joe" not in server.received
        assert b"s3cret" not in server.received


@pytest.mark.parametrize("field", ["login", "password", "domain"])
@pytest.mark.parametrize("character", ["\n", "\0", "\ud800"])
def test_a_character_that_no_protocol_can_carry_is_refused_before_anything_is_sent(field: str, character: str) -> None:
    with ScriptedServer(silent) as server:
        values = {"login": "joe", field: f"s3{character}cret"}
        tunnel = TunnelSettings(type="http", host=server.host, port=server.port, **values)
        with pytest.raises(ProxyAuthenticationError, match="control character") as caught:
            open_tunnel(tunnel, TARGET, 993, within())
        assert not server.received
    assert "cret" not in str(caught.value)


def test_the_port_is_sent_as_two_bytes() -> None:
    def script(peer: Peer) -> None:
        peer.exactly(2)
        (port,) = struct.unpack(">H", peer.exactly(2))
        peer.send_raw(bytes([0, 90]) + b"\0" * 6 + str(port).encode())
        peer.exactly(4 + 1 + len(TARGET) + 1)
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        tunnel = TunnelSettings(type="socks4a", host=server.host, port=server.port)
        with open_tunnel(tunnel, TARGET, 65535, within()) as sock:
            assert received(sock, 5) == b"65535"


def test_a_refused_proxy_login_counts_as_a_refused_login_also_in_another_process() -> None:
    error = ProxyAuthenticationError("p", stage="proxy", reply="r", remedy="m")
    copied = pickle.loads(pickle.dumps(error))
    assert isinstance(copied, AuthenticationError)
    assert isinstance(copied, ConnectionError)
    assert str(copied) == str(error)
