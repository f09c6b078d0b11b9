"""Proxies that fall silent, drip, go away or are not there at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_imap_provider.connection.settings import TunnelSettings
from airflow_imap_provider.errors import (
    ConnectError,
    ImapTimeoutError,
    ProxyError,
)
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.waiting import free_port
from tests.transport.conftest import Opener
from tests.transport.proxy.parts import (
    GRANTED4,
    GREETING,
    LOG_IN,
    OK,
    TARGET,
    head,
    received,
    silent,
    through,
    within,
)
from tests.transport.test_dial import full_listener

# -- silence ----------------------------------------------------------------------------------------------------------


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
@pytest.mark.timeout(20)  # the silence would last for ever
def test_a_proxy_that_falls_silent_ends_with_the_deadline_at_stage_proxy(
    kind: str, script: Callable[[Peer], None], opened: Opener
) -> None:
    with ScriptedServer(script) as server, pytest.raises(ImapTimeoutError) as caught:
        opened(through(server, kind, timeout=1, login="joe", password="" if kind == "socks4a" else "s3cret"))
    assert caught.value.stage == "proxy"
    assert "tunnel_type" in caught.value.remedy


def test_a_proxy_whose_machine_does_not_answer_is_a_timeout_at_stage_proxy() -> None:
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
