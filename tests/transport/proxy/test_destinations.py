"""Who resolves names, what the proxy is asked for, and which credentials it gets."""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from airflow_imap_provider.connection.settings import TunnelSettings
from airflow_imap_provider.errors import (
    AuthenticationError,
    ConnectError,
    ProxyAuthenticationError,
    ProxyError,
)
from airflow_imap_provider.transport.proxy.tunnel import open_tunnel
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.proxy.parts import (
    DONE5,
    GRANTED4,
    GREETING,
    LOG_IN,
    TARGET,
    head,
    received,
    silent,
    within,
)
from tests.transport.test_dial import resolve_to

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
