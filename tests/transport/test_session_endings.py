from __future__ import annotations

import gc
import threading

import pytest

from airflow_imap_provider.errors import (
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
)
from airflow_imap_provider.transport import dial
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.servers.waiting import wait_until
from tests.transport.conftest import Opener, settings_for
from tests.transport.inbox import after_inbox, open_inbox


def test_a_timeout_makes_the_session_unusable_and_nothing_more_is_sent(opened: Opener) -> None:
    def silent(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        peer.wait_for_end()

    with ScriptedServer(after_inbox(silent)) as server:
        session = open_inbox(opened, server, timeout=1)
        with pytest.raises(ImapTimeoutError) as caught:
            session.search(["ALL"])
        assert caught.value.stage == "SEARCH"
        assert not session.usable
        for call in (session.noop, lambda: session.select("INBOX", readonly=True), session.folders):
            with pytest.raises(ImapTimeoutError):
                call()
        session.logout()
        assert b"LOGOUT" not in server.received
        assert b"NOOP" not in server.received


@pytest.mark.timeout(15)  # the dripping would last longer
def test_a_dripping_server_cannot_hold_a_command(opened: Opener) -> None:
    def drip(peer: Peer) -> None:
        peer.expect("UID FETCH")
        peer.drip(b"* 1 FETCH (UID 1 BODY[] {1000}\r\n" + b"x" * 1000, 0.02)

    with ScriptedServer(after_inbox(drip)) as server:
        session = open_inbox(opened, server, timeout=1)
        with pytest.raises(ImapTimeoutError):
            session.fetch([1], ["BODY.PEEK[]"])


def test_dripping_lines_cannot_hold_a_command_either(opened: Opener) -> None:
    def drip(peer: Peer) -> None:
        peer.expect("NOOP")
        while not peer._server.stopping.wait(0.05):
            peer.send("* OK still working")

    with ScriptedServer(after_inbox(drip)) as server, pytest.raises(ImapTimeoutError):
        open_inbox(opened, server, timeout=1).noop()


@pytest.mark.dovecot
def test_a_killed_server_is_a_lost_connection_and_the_session_unusable(opened: Opener, user: User) -> None:
    server = Dovecot()
    try:
        server.start()
        session = opened(server.settings(server.alice))
        server.kill()
        with pytest.raises(LostConnectionError) as caught:
            session.noop()
        assert isinstance(caught.value, ConnectionError)
        assert not session.usable
        server.start()
        assert opened(server.settings(server.alice)).usable
    finally:
        server.remove()


@pytest.mark.dovecot
def test_a_kicked_connection_brings_the_servers_last_words(opened: Opener, dovecot: Dovecot, user: User) -> None:
    session = opened(dovecot.settings(user))
    dovecot.kick(user)

    ends: list[LostConnectionError] = []

    def lost() -> bool:
        # The session's process may answer once more before it sees the signal.
        try:
            session.noop()
        except LostConnectionError as error:
            ends.append(error)
        return bool(ends)

    wait_until(lost, "the session ends", 20)
    assert "shutting down" in str(ends[0])


@pytest.mark.parametrize("verb", ["no", "bad"])
def test_a_refusal_leaves_the_session_usable(verb: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        getattr(peer, verb)("cannot do that")
        peer.expect("NOOP")
        peer.ok()

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(RefusedError, match="cannot do that") as caught:
            session.search(["ALL"])
        assert caught.value.stage == "SEARCH"
        assert session.usable
        session.noop()


def test_bye_in_the_middle_of_a_command_brings_the_servers_words(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("NOOP")
        peer.send("* BYE going down")

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(LostConnectionError, match="going down"):
            session.noop()
        assert not session.usable


@pytest.mark.parametrize("line", ["what is this", "A999 OK not yours", "* \x00"])
def test_an_answer_out_of_step_is_a_protocol_error_and_ends_the_session(line: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("NOOP")
        peer.send(line)
        peer.wait_for_end()

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(ProtocolError):
            session.noop()
        assert not session.usable
        session.close()


def test_a_reset_connection_is_a_lost_connection(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("NOOP")
        peer.reset()

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(LostConnectionError, match="broke"):
            session.noop()
        assert not session.usable


@pytest.mark.parametrize("verb", ["no", "bad"])
def test_a_refused_fetch_or_list_brings_the_servers_words(verb: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("UID FETCH")
        getattr(peer, verb)("not today")
        peer.expect("LIST")
        getattr(peer, verb)("not today either")

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(RefusedError, match="not today"):
            session.fetch([1], ["FLAGS"])
        with pytest.raises(RefusedError, match="not today either"):
            session.folders()
        assert session.usable


def test_no_matching_folder_is_an_empty_list(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("LIST")
        peer.ok()

    with ScriptedServer(script) as server:
        assert opened(settings_for(server)).folders("nothing") == []


def test_logout_says_goodbye(opened: Opener) -> None:
    said = []

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        peer.expect("LOGOUT")
        said.append(True)
        peer.ok("* BYE see you")

    with ScriptedServer(script) as server:
        session = open_inbox(opened, server)
        session.logout()
        assert not session.usable
        session.logout()
        session.close()
    assert said


@pytest.mark.parametrize("answer", ["* BYE", "nonsense", "* BAD"])
def test_logout_never_raises(answer: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("LOGOUT")
        peer.send(answer)

    with ScriptedServer(after_inbox(script)) as server:
        open_inbox(opened, server).logout()


def test_close_from_another_thread_wakes_a_waiting_call(opened: Opener) -> None:
    waiting = threading.Event()

    def silent(peer: Peer) -> None:
        peer.expect("NOOP")
        waiting.set()
        peer.wait_for_end()

    with ScriptedServer(after_inbox(silent)) as server:
        session = open_inbox(opened, server, timeout=30)
        outcome: list[ImapError] = []

        def call() -> None:
            try:
                session.noop()
            except ImapError as exc:
                outcome.append(exc)

        thread = threading.Thread(target=call)
        thread.start()
        assert waiting.wait(5)
        session.close()
        thread.join(5)
        assert not thread.is_alive()
        assert isinstance(outcome[0], LostConnectionError)
        assert "this side" in outcome[0].problem
        wait_until(lambda: session.client.socket().fileno() == -1, "the socket is closed by who used it")


@pytest.mark.dovecot
def test_close_wakes_a_waiting_call_over_tls_too(opened: Opener) -> None:
    # Frozen, so that the call really waits.
    server = Dovecot()
    try:
        server.start()
        session = opened(server.settings(server.alice, timeout=30))
        outcome: list[ImapError] = []

        def call() -> None:
            try:
                session.noop()
            except ImapError as exc:
                outcome.append(exc)

        with server.frozen():
            thread = threading.Thread(target=call)
            thread.start()
            wait_until(lambda: session.client._imap.tagged_commands != {}, "the command is on its way")
            session.close()
            thread.join(5)
        assert isinstance(outcome[0], LostConnectionError)
    finally:
        server.remove()


def test_a_second_call_at_the_same_time_is_refused_and_disturbs_nothing(opened: Opener) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    def slow(peer: Peer) -> None:
        peer.expect("NOOP")
        waiting.set()
        go_on.wait(5)
        peer.ok()

    with ScriptedServer(after_inbox(slow)) as server:
        session = open_inbox(opened, server)
        thread = threading.Thread(target=session.noop)
        thread.start()
        assert waiting.wait(5)
        with pytest.raises(ImapError, match="in use"):
            session.search(["ALL"])
        go_on.set()
        thread.join(5)
        assert session.usable


def test_an_interrupted_call_makes_the_session_unusable(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(after_inbox()) as server:
        session = open_inbox(opened, server)

        def interrupted() -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(session._stream, "noop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.noop()
        assert not session.usable


def test_a_closed_session_leaves_no_open_socket_behind(opened: Opener) -> None:
    with ScriptedServer(after_inbox()) as server:
        session = open_inbox(opened, server)
        sock = session.client.socket()
        session.close()
        assert sock.fileno() == -1
        # Warnings are errors here, the ResourceWarning of a forgotten socket too.
        gc.collect()


def test_a_line_that_tcp_gives_up_is_no_slow_server(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "UNACKNOWLEDGED_LIMIT", 1)

    def deaf(peer: Peer) -> None:
        peer._server.stopping.wait(30)

    with ScriptedServer(after_inbox(deaf)) as server, pytest.raises(LostConnectionError) as caught:
        open_inbox(opened, server, timeout=20)._stream.send(b"x" * 30_000_000)
    assert "Connection timed out" in caught.value.problem
    assert "Lower poll_interval" in caught.value.remedy
