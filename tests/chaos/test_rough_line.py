"""The line does to bytes what it says, and nothing else: the fault suite is worth what its faults are."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.servers.rough_line import KINDS, RoughLine, plan

PATIENCE = 5.0
MOMENT = 0.2
"""Seconds in which nothing must come: hundreds of times as long as a byte takes over loopback."""


class Echo:
    """A server that says everything back in capitals."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(peer,), daemon=True).start()

    def answer(self, peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(4096):
                    peer.sendall(data.upper())
            except ConnectionError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def line() -> Iterator[RoughLine]:
    echo = Echo()
    with RoughLine(echo.port) as line:
        yield line
    echo.close()


@pytest.fixture
def client(line: RoughLine) -> Iterator[socket.socket]:
    with socket.create_connection((line.host, line.port), PATIENCE) as client:
        yield client


def exchange(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return client.recv(4096)


def silent(client: socket.socket) -> bool:
    client.settimeout(MOMENT)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE)
    return False


def test_in_good_weather_bytes_pass_both_ways(line: RoughLine, client: socket.socket) -> None:
    assert exchange(client, b"hello") == b"HELLO"
    assert line.accepted == 1


def test_a_cut_ends_a_connection_politely_and_the_next_one_works(line: RoughLine, client: socket.socket) -> None:
    exchange(client, b"a")
    line.cut()
    assert client.recv(1) == b""
    with socket.create_connection((line.host, line.port), PATIENCE) as again:
        assert exchange(again, b"b") == b"B"


def test_a_reset_is_a_reset(line: RoughLine, client: socket.socket) -> None:
    exchange(client, b"a")
    line.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_refused_are_new_connections_only(line: RoughLine, client: socket.socket) -> None:
    exchange(client, b"a")
    line.refuse()
    assert exchange(client, b"b") == b"B"
    # At the first word, or while it is still being made.
    with pytest.raises(ConnectionResetError), socket.create_connection((line.host, line.port), PATIENCE) as other:
        other.recv(1)


def test_what_is_stalled_comes_later(line: RoughLine, client: socket.socket) -> None:
    exchange(client, b"a")
    line.stall()
    client.sendall(b"held")
    assert silent(client)
    line.flow()
    assert client.recv(4096) == b"HELD"


def test_a_dripping_line_passes_byte_by_byte(line: RoughLine, client: socket.socket) -> None:
    exchange(client, b"a")
    line.drip(100)
    begun = time.monotonic()
    client.sendall(b"0123456789")
    got = b""
    while len(got) < 10:
        got += client.recv(4096)
    assert got == b"0123456789"
    assert time.monotonic() - begun > 0.09


def test_what_a_black_hole_swallowed_stays_dead_and_new_connections_work_after_it(
    line: RoughLine, client: socket.socket
) -> None:
    exchange(client, b"a")
    line.swallow()
    with socket.create_connection((line.host, line.port), PATIENCE) as during:
        for swallowed in (client, during):
            swallowed.sendall(b"anybody there?")
            assert silent(swallowed)
        line.flow()
        for swallowed in (client, during):
            swallowed.sendall(b"and now?")
            assert silent(swallowed)
    with socket.create_connection((line.host, line.port), PATIENCE) as after:
        assert exchange(after, b"b") == b"B"


def test_injected_bytes_reach_the_client_and_the_conversation_goes_on(line: RoughLine, client: socket.socket) -> None:
    exchange(client, b"a")
    line.inject(b"noise")
    assert client.recv(4096) == b"noise"
    assert exchange(client, b"b") == b"B"


@pytest.mark.parametrize("passed", [False, True])
def test_a_moment_is_before_or_after_its_bytes_have_passed(
    line: RoughLine, client: socket.socket, passed: bool
) -> None:
    exchange(client, b"a")
    came, go_on = threading.Event(), threading.Event()

    def act() -> None:
        came.set()
        go_on.wait(PATIENCE)

    line.at(b"IDLE", act, passed=passed)
    client.sendall(b"A1 IDLE")
    assert came.wait(PATIENCE)
    assert silent(client) or passed
    go_on.set()
    if not passed:
        assert client.recv(4096) == b"A1 IDLE"
    assert line.moments_left == 0


def test_a_seed_makes_the_same_plan_again_and_plans_have_all_faults() -> None:
    assert plan(random.Random(7), 60) == plan(random.Random(7), 60)
    assert plan(random.Random(7), 60) != plan(random.Random(8), 60)
    assert {fault.kind for fault in plan(random.Random(7), 600)} == set(KINDS)


def test_a_plan_ends_in_good_weather(line: RoughLine) -> None:
    line.suffer(plan(random.Random(3), 2), random.Random(3), threading.Event())
    with socket.create_connection((line.host, line.port), PATIENCE) as client:
        assert exchange(client, b"calm") == b"CALM"
