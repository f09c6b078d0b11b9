from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from airflow_imap_provider.errors import ConnectError, ImapTimeoutError
from airflow_imap_provider.transport import dial as dialling
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Deadline
from airflow_imap_provider.transport.dial import dial
from tests.servers.waiting import free_port


def within(seconds: float = 5) -> Deadline:
    return Deadline(SYSTEM_CLOCK, seconds)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these IPv4 addresses."""

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_name_that_does_not_exist_is_a_connect_error_at_stage_dns() -> None:
    with pytest.raises(ConnectError, match="does not resolve") as caught:
        dial("no-such-host.invalid", 993, within())
    assert caught.value.stage == "dns"
    assert "Address (host)" in caught.value.remedy


def test_a_name_that_cannot_be_a_name_is_a_connect_error() -> None:
    with pytest.raises(ConnectError, match="not a possible name"):
        dial("x" * 300, 993, within())


def test_a_name_without_addresses_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)
    with pytest.raises(ConnectError, match="no address"):
        dial("mail.example.com", 993, within())


def test_a_resolver_that_never_answers_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(ImapTimeoutError) as caught:
            dial("mail.example.com", 993, within(0.1))
    finally:
        over.set()
    assert caught.value.stage == "dns"


def test_a_closed_port_is_a_connect_error_that_names_address_and_port() -> None:
    port = free_port()
    with pytest.raises(ConnectError, match=rf"127\.0\.0\.1 port {port} .*refused") as caught:
        dial("127.0.0.1", port, within())
    assert caught.value.stage == "tcp"


def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with dial("mail.example.com", listener.getsockname()[1], within()) as sock:
            assert sock.getpeername()[0] == "127.0.0.2"


def test_an_address_that_swallows_packets_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_listener() as full, socket.create_server(("127.0.0.2", full.getsockname()[1])):
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with dial("mail.example.com", full.getsockname()[1], within(1)) as sock:
            assert sock.getpeername()[0] == "127.0.0.2"


def test_no_answer_from_any_address_is_a_timeout_at_stage_tcp() -> None:
    with full_listener() as full, pytest.raises(ImapTimeoutError) as caught:
        dial("127.0.0.1", full.getsockname()[1], within(0.2))
    assert caught.value.stage == "tcp"


def test_only_so_many_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, *(f"127.0.1.{number}" for number in range(1, 100)))
    with pytest.raises(ConnectError) as caught:
        dial("mail.example.com", free_port(), within())
    assert caught.value.problem.count("refused") == dialling.MAX_ADDRESSES


def test_the_socket_sends_at_once_and_notices_a_vanished_peer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        dial("127.0.0.1", listener.getsockname()[1], within()) as sock,
    ):
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == dialling.KEEPALIVE_IDLE
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == dialling.UNACKNOWLEDGED_LIMIT * 1000


class full_listener:  # noqa: N801 - used like a function
    """A listener whose queue is full: Linux drops further connection requests silently, as a firewall does."""

    def __enter__(self) -> socket.socket:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)
        return self._listener

    def __exit__(self, *_: object) -> None:
        for filler in self._fillers:
            filler.close()
        self._listener.close()
