"""Tunnels over real sockets: nothing is lost however a scripted proxy cuts its answers, and TLS runs through."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import TlsSettings, TunnelSettings
from airflow_imap_provider.errors import (
    TlsError,
)
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for
from tests.transport.proxy.parts import (
    DONE5,
    GRANTED4,
    GREETING,
    LOG_IN,
    OK,
    TARGET,
    head,
    received,
    through,
    within,
)

CONNECTS = 30
Say = Callable[[Peer, bytes], None]


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
