"""The bounds of the stream: sizes, and the time that bytes earn."""

from __future__ import annotations

import collections
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_imap_provider.errors import ImapTimeoutError, ProtocolError
from airflow_imap_provider.transport import limits
from airflow_imap_provider.transport import stream as streams
from airflow_imap_provider.transport.clock import SYSTEM_CLOCK, Clock, Deadline
from airflow_imap_provider.transport.stream import BufferedIMAP4
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.clocks import HandClock
from tests.transport.conftest import Opener, settings_for


def never(_: socket.socket) -> ssl.SSLSocket:
    raise AssertionError("no TLS here")


@contextmanager
def stream_to(sock: socket.socket, *, clock: Clock = SYSTEM_CLOCK, timeout: float = 5) -> Iterator[BufferedIMAP4]:
    stream = BufferedIMAP4(
        sock, "test", 143, encrypt=never, clock=clock, deadline=Deadline(clock, timeout), timeout=timeout
    )
    try:
        yield stream
    finally:
        stream.shutdown()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_lines_and_literals_come_from_one_buffer(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"first\r\nliteral!rest\r\n")
    with stream_to(ours) as stream:
        assert stream.readline() == b"first\r\n"
        assert stream.read(8) == b"literal!"
        assert stream.read(0) == b""
        assert stream.readline() == b"rest\r\n"


def test_a_line_that_comes_in_pieces_is_put_together(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    expected = b"x" * 100_000 + b"\r\n"
    sender = threading.Thread(target=theirs.sendall, args=(expected,))
    sender.start()
    with stream_to(ours) as stream:
        assert stream.readline() == expected
    sender.join()


def test_a_line_without_end_is_refused_at_the_cap(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 1000)
    ours, theirs = pair
    theirs.sendall(b"x" * 2000)
    with stream_to(ours) as stream:
        with pytest.raises(ProtocolError, match="1000 bytes"):
            stream.readline()
        assert stream.failure is not None


def test_an_answer_of_many_lines_is_refused_at_the_cap(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_ANSWER_BYTES", 1000)
    ours, theirs = pair
    theirs.sendall(b"* OK\r\n" * 500)
    with stream_to(ours) as stream, pytest.raises(ProtocolError, match="1000 bytes"):
        collections.deque(iter(stream.readline, b""), maxlen=0)


def test_a_claim_of_4_gb_is_refused_and_costs_no_memory(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("UID FETCH")
        peer.send("* 1 FETCH (UID 1 BODY[] {4294967296}", "x")
        peer.wait_for_end()

    with ScriptedServer(script) as server:
        session = opened(settings_for(server))
        session.select("INBOX", readonly=True)
        with pytest.raises(ProtocolError, match="4294967296"):
            session.fetch([1], ["BODY.PEEK[]"])
        assert not session.usable
        session.close()


def test_a_claim_below_the_cap_costs_only_what_comes(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * 1000)
    theirs.close()
    with stream_to(ours) as stream:
        tracemalloc.start()
        with pytest.raises(ConnectionError):
            stream.read(limits.MAX_LITERAL_BYTES)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1024 * 1024


def test_a_large_literal_is_held_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    size = 20 * 1024 * 1024
    sender = threading.Thread(target=theirs.sendall, args=(bytes(size),))
    sender.start()
    with stream_to(ours, timeout=60) as stream:
        tracemalloc.start()
        literal = stream.read(size)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    sender.join()
    assert len(literal) == size
    assert peak < 1.5 * size


def test_bytes_earn_time_once_the_session_is_open(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    clock = HandClock()
    with stream_to(ours, clock=clock, timeout=10) as stream:
        stream.opened()
        stream.begin("FETCH")
        theirs.sendall(b"x" * limits.MIN_BYTES_PER_SECOND)
        stream.read(limits.MIN_BYTES_PER_SECOND)
        # One second was earned: at 10.5 there is still half a second left, at 11 none.
        clock.forward(10.5)
        theirs.sendall(b"y")
        assert stream.read(1) == b"y"
        clock.forward(0.6)
        with pytest.raises(ImapTimeoutError):
            stream.read(1)


def test_bytes_earn_no_time_while_opening(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    clock = HandClock()
    with stream_to(ours, clock=clock, timeout=10) as stream:
        theirs.sendall(b"x" * limits.MIN_BYTES_PER_SECOND)
        stream.read(limits.MIN_BYTES_PER_SECOND)
        clock.forward(10)
        with pytest.raises(ImapTimeoutError):
            stream.read(1)


def test_sending_to_a_peer_that_does_not_read_ends_with_the_deadline(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    with stream_to(ours, timeout=0.2) as stream:
        with pytest.raises(ImapTimeoutError):
            stream.send(bytes(50_000_000))
        with pytest.raises(ImapTimeoutError):
            stream.send(b"x")


def test_cutting_twice_and_closing_twice_is_harmless(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    with stream_to(ours) as stream:
        stream.shutdown()
        stream.shutdown()
        with pytest.raises(ConnectionError, match="this side"):
            stream.readline()
