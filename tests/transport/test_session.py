from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from airflow_imap_provider.errors import (
    FolderNotFoundError,
    ImapError,
    ImapTimeoutError,
    LostConnectionError,
    ProtocolError,
    RefusedError,
    SettingsError,
)
from airflow_imap_provider.transport.session import Session
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.servers.waiting import wait_until
from tests.transport.conftest import Opener, settings_for

MAIL = b"Subject: hello\r\nFrom: a@example.com\r\n\r\ntext\r\n"


def after_inbox(*steps: Callable[[Peer], None], capabilities: str = CAPABILITIES) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.serve_inbox(capabilities)
        for step in steps:
            step(peer)

    return script


def open_inbox(opened: Opener, server: ScriptedServer, *, timeout: float = 5, readonly: bool = False) -> Session:
    session = opened(settings_for(server, timeout=timeout))
    session.select("INBOX", readonly=readonly)
    return session


# -- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.dovecot
def test_select_tells_what_the_folder_is(opened: Opener, dovecot: Dovecot, user: User) -> None:
    dovecot.deliver(user, MAIL)
    session = opened(dovecot.settings(user))
    status = session.select("INBOX", readonly=False)
    assert (status.name, status.exists, status.uidnext, status.readonly) == ("INBOX", 1, 2, False)
    assert status.uidvalidity > 0
    assert session.select("INBOX", readonly=True).readonly


@pytest.mark.dovecot
def test_folder_names_are_plain_unicode(opened: Opener, dovecot: Dovecot, user: User) -> None:
    session = opened(dovecot.settings(user))
    names = ["Entwürfe", "Ein & Aus", 'mit "Zeichen"', "日本語", "a/b", "2026"]
    for name in names:
        session.client.create_folder(name)
    assert {folder.name for folder in session.folders()} == {*names, "a", "INBOX"}
    assert [folder.name for folder in session.folders("a/%")] == ["a/b"]
    for name in names:
        assert session.select(name, readonly=True).name == name
    (inbox,) = session.folders("INBOX")
    assert inbox.delimiter == "/"


@pytest.mark.dovecot
def test_a_folder_that_is_not_there_is_an_error_with_the_servers_words(
    opened: Opener, dovecot: Dovecot, user: User
) -> None:
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=True)
    with pytest.raises(FolderNotFoundError, match="doesn't exist") as caught:
        session.select("Nowhere", readonly=True)
    assert caught.value.stage == "folder"
    assert session.usable
    with pytest.raises(ImapError, match="no folder is open"):
        session.search(["ALL"])


def test_a_folder_that_is_only_busy_is_not_called_missing(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("SELECT")
        peer.no("[INUSE] somebody rebuilds it")

    with ScriptedServer(script) as server, pytest.raises(RefusedError, match="rebuilds") as caught:
        opened(settings_for(server)).select("INBOX", readonly=False)
    assert not isinstance(caught.value, FolderNotFoundError)


@pytest.mark.parametrize("name", ["", "a\r\nA1 DELETE INBOX", "nul\0"])
def test_a_name_that_would_be_a_command_is_never_sent(name: str, opened: Opener) -> None:
    with ScriptedServer(Peer.let_in) as server:
        session = opened(settings_for(server))
        for call in (lambda: session.select(name, readonly=True), lambda: session.folders(name)):
            with pytest.raises(SettingsError):
                call()
        assert b"DELETE" not in server.received


def test_a_folder_that_the_server_opens_for_reading_only_says_so(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("SELECT")
        peer.ok("* 1 EXISTS", "* OK [UIDVALIDITY 7] valid", words="[READ-ONLY] archive")
        peer.expect("NOOP")
        peer.ok()

    with ScriptedServer(script) as server:
        session = opened(settings_for(server))
        status = session.select("Archive", readonly=False)
        assert status.readonly
        assert status.uidnext is None
        session.noop()
        with pytest.raises(RefusedError, match="reading only"):
            session.add_flags([1], [r"\Seen"])


@pytest.mark.parametrize("validity", [(), ("* OK [UIDVALIDITY many] valid",)])
def test_a_folder_without_uidvalidity_is_a_protocol_error(validity: tuple[str, ...], opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("EXAMINE")
        peer.ok("* 1 EXISTS", *validity)

    with ScriptedServer(script) as server, pytest.raises(ProtocolError):
        opened(settings_for(server)).select("INBOX", readonly=True)


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.dovecot
def test_search_and_fetch_find_what_is_there(opened: Opener, dovecot: Dovecot, user: User) -> None:
    received = datetime(2026, 3, 5, 12, 30, tzinfo=timezone.utc)
    dovecot.deliver_all(user, [MAIL, MAIL.replace(b"hello", "grüße".encode())], received=received)
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=True)
    assert session.search(["ALL"]) == [1, 2]
    assert session.search(["SUBJECT", "hello", "NOT", ["SEEN"]]) == [1]
    assert session.search(["SUBJECT", "grüße"]) == [2]
    assert session.search(["NOT", ["SUBJECT", "grüße"]]) == [1]
    assert session.search(["UID", "2:*"], charset="UTF-8") == [2]
    found = session.fetch([2, 1], ["FLAGS", "INTERNALDATE", "BODY.PEEK[TEXT]"])
    assert set(found) == {1, 2}
    assert found[1][b"BODY[TEXT]"] == b"text\r\n"
    assert found[1][b"INTERNALDATE"] == received


def test_literals_in_search_are_announced_and_waited_for_without_literal_plus(opened: Opener) -> None:
    def search(peer: Peer) -> None:
        assert peer.expect("UID SEARCH") == 'CHARSET UTF-8 NOT (FROM "a" SUBJECT {3}'
        peer.send("* 9 EXISTS", "+ go on")
        assert peer.exactly(3) == "ä!".encode()
        assert peer.line() == ") UNSEEN"
        peer.ok("* SEARCH 4 5")

    without = CAPABILITIES.replace("LITERAL+ ", "")
    with ScriptedServer(after_inbox(search, capabilities=without)) as server:
        session = open_inbox(opened, server)
        before = session.arrivals
        assert session.search(["NOT", ["FROM", "a", "SUBJECT", "ä!"], "UNSEEN"]) == [4, 5]
        assert session.arrivals == before + 1


def test_a_refusal_in_the_middle_of_search_literals_leaves_the_session_usable(opened: Opener) -> None:
    def search(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        peer.no("[BADCHARSET (US-ASCII)] cannot")
        peer.expect("NOOP")
        peer.ok()

    without = CAPABILITIES.replace("LITERAL+ ", "")
    with ScriptedServer(after_inbox(search, capabilities=without)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(RefusedError, match="BADCHARSET"):
            session.search(["SUBJECT", "ä"])
        session.noop()


def test_a_line_break_in_a_search_value_never_reaches_the_server(opened: Opener) -> None:
    with ScriptedServer(after_inbox()) as server:
        session = open_inbox(opened, server)
        with pytest.raises(SettingsError):
            session.search(["SUBJECT", "x\r\nA1 DELETE INBOX"])
        assert b"DELETE" not in server.received
        assert session.usable


def test_a_search_with_200000_hits_is_read(opened: Opener) -> None:
    hits = list(range(4_000_000_000, 4_000_200_000))

    def search(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        peer.ok("* SEARCH " + " ".join(map(str, hits)))

    with ScriptedServer(after_inbox(search)) as server:
        assert open_inbox(opened, server).search(["ALL"]) == hits


@pytest.mark.dovecot
def test_many_uids_go_in_commands_that_a_server_accepts(opened: Opener, dovecot: Dovecot, user: User) -> None:
    dovecot.deliver_all(user, [MAIL] * 3)
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=False)
    # Every second number of a wide range: nothing to compress.
    uids = [1, 3, *range(101, 60_001, 2)]
    assert set(session.fetch(uids, ["FLAGS"])) == {1, 3}
    session.add_flags(uids, ["$Done"])
    assert session.search(["KEYWORD", "$Done"]) == [1, 3]


def test_fetch_compresses_ranges_and_keeps_to_the_asked_uids(opened: Opener) -> None:
    def fetch(peer: Peer) -> None:
        assert peer.expect("UID FETCH") == "1:3,9 (FLAGS)"
        peer.ok("* 1 FETCH (UID 1 FLAGS ())", "* 7 FETCH (FLAGS (x))", "* 8 FETCH (UID 8 FLAGS ())")

    with ScriptedServer(after_inbox(fetch)) as server:
        assert open_inbox(opened, server).fetch([3, 9, 1, 2], ["FLAGS"]) == {1: {b"SEQ": 1, b"FLAGS": ()}}


def test_news_from_before_a_fetch_are_not_taken_for_its_answer(opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.expect("NOOP")
        peer.ok("* 2 FETCH (FLAGS (\\Deleted))")
        peer.expect("UID FETCH")
        peer.ok("* 1 FETCH (UID 2 FLAGS ())")

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        session.noop()
        assert session.fetch([2], ["FLAGS"]) == {2: {b"SEQ": 1, b"FLAGS": ()}}


@pytest.mark.dovecot
def test_mails_that_are_gone_do_not_disturb_the_others(opened: Opener, dovecot: Dovecot, user: User) -> None:
    dovecot.deliver_all(user, [MAIL] * 3)
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=False)
    dovecot.expunge(user, [2])
    found = session.fetch([1, 2, 3, 99], ["BODY.PEEK[TEXT]"])
    assert found[1][b"BODY[TEXT]"] == found[3][b"BODY[TEXT]"] == b"text\r\n"
    assert not found.get(2, {}).get(b"BODY[TEXT]")
    assert 99 not in found
    session.add_flags([1, 2, 99], [r"\Seen"])
    assert session.search(["SEEN"]) == [1]


def test_a_fetch_of_which_some_mails_have_just_gone_gives_the_others(opened: Opener) -> None:
    def fetch(peer: Peer) -> None:
        peer.expect("UID FETCH")
        peer.send("* 1 FETCH (UID 1 FLAGS ())")
        peer.no("[EXPUNGEISSUED] some are gone")

    with ScriptedServer(after_inbox(fetch)) as server:
        assert set(open_inbox(opened, server).fetch([1, 2], ["FLAGS"])) == {1}


@pytest.mark.parametrize(
    "answer",
    ["* 1 FETCH (UID 1 FLAGS (", "* 1 FETCH (UID)", "* 1 FETCH", "* 1 FETCH (UID x)", "* 1 FETCH " + "(" * 5000],
)
def test_an_answer_that_cannot_be_parsed_is_a_protocol_error_and_the_session_goes_on(
    answer: str, opened: Opener
) -> None:
    def fetch(peer: Peer) -> None:
        peer.expect("UID FETCH")
        peer.ok(answer)
        peer.expect("NOOP")
        peer.ok()

    with ScriptedServer(after_inbox(fetch)) as server:
        session = open_inbox(opened, server)
        with pytest.raises(ProtocolError):
            session.fetch([1], ["FLAGS"])
        assert session.usable
        session.noop()


def test_fetching_nothing_asks_nothing(opened: Opener) -> None:
    with ScriptedServer(after_inbox()) as server:
        assert open_inbox(opened, server).fetch([], ["FLAGS"]) == {}


# -- changing ---------------------------------------------------------------------------------------------------------


@pytest.mark.dovecot
def test_flags_copy_move_and_expunge_touch_exactly_the_given_mails(
    opened: Opener, dovecot: Dovecot, user: User
) -> None:
    dovecot.deliver_all(user, [MAIL] * 4)
    dovecot.create_folder(user, "Done")
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=False)
    session.add_flags([1, 2], [r"\Seen", "$Work"])
    session.remove_flags([2], [r"\Seen"])
    assert (session.search(["SEEN"]), session.search(["KEYWORD", "$Work"])) == ([1], [1, 2])
    session.copy([1], "Done")
    session.move([2], "Done")
    session.add_flags([3, 4], [r"\Deleted"])
    session.expunge([3])
    assert session.search(["ALL"]) == [1, 4]
    assert session.select("Done", readonly=True).exists == 2


@pytest.mark.dovecot
def test_copying_and_moving_to_a_folder_that_is_not_there_is_a_folder_error(
    opened: Opener, dovecot: Dovecot, user: User
) -> None:
    dovecot.deliver(user, MAIL)
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=False)
    for call in (session.copy, session.move):
        with pytest.raises(FolderNotFoundError, match="TRYCREATE"):
            call([1], "Nowhere")
    assert session.search(["ALL"]) == [1]


def test_nothing_is_changed_in_a_folder_that_is_open_for_reading_only(opened: Opener) -> None:
    with ScriptedServer(after_inbox()) as server:
        session = open_inbox(opened, server, readonly=True)
        for call in (
            lambda: session.add_flags([1], [r"\Seen"]),
            lambda: session.remove_flags([1], [r"\Seen"]),
            lambda: session.move([1], "x"),
            lambda: session.expunge([1]),
        ):
            with pytest.raises(RefusedError, match="reading only"):
                call()
        assert b"UID" not in server.received


def test_move_and_uid_expunge_are_not_tried_without_the_capability(opened: Opener) -> None:
    capabilities = "IMAP4rev1 AUTH=PLAIN SASL-IR"
    with ScriptedServer(after_inbox(capabilities=capabilities)) as server:
        session = open_inbox(opened, server)
        for call, name in ((lambda: session.move([1], "x"), "MOVE"), (lambda: session.expunge([1]), "UIDPLUS")):
            with pytest.raises(RefusedError, match=name):
                call()
        assert b"UID" not in server.received


def test_commands_for_mails_need_an_open_folder(opened: Opener) -> None:
    with ScriptedServer(Peer.let_in) as server:
        session = opened(settings_for(server))
        for call in (
            lambda: session.search(["ALL"]),
            lambda: session.fetch([1], ["FLAGS"]),
            lambda: session.add_flags([1], ["x"]),
            lambda: session.copy([1], "x"),
            session.idle_channel,
        ):
            with pytest.raises(ImapError, match="no folder is open"):
                call()


# -- arrivals ---------------------------------------------------------------------------------------------------------


@pytest.mark.dovecot
def test_mail_announced_in_the_middle_of_another_command_is_counted(
    opened: Opener, dovecot: Dovecot, user: User
) -> None:
    session = opened(dovecot.settings(user))
    session.select("INBOX", readonly=True)
    before = session.arrivals
    session.noop()
    assert session.arrivals == before
    dovecot.deliver(user, MAIL)
    session.noop()
    assert session.arrivals > before


def test_only_exists_lines_are_arrivals(opened: Opener) -> None:
    body = b"* 9 EXISTS\r\n"

    def script(peer: Peer) -> None:
        peer.expect("UID FETCH")
        peer.send_raw(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\n" % (len(body), body))
        peer.ok("* 4 RECENT", "* 1 EXPUNGE", "* OK EXISTS", "* 5 EXISTS", "* 6 EXISTS")

    with ScriptedServer(after_inbox(script)) as server:
        session = open_inbox(opened, server)
        before = session.arrivals
        session.fetch([1], ["BODY.PEEK[]"])
        assert session.arrivals == before + 2


# -- timeouts, losses, refusals ---------------------------------------------------------------------------------------


def test_a_timeout_makes_the_session_unusable_and_nothing_more_is_sent(opened: Opener) -> None:
    def silent(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        peer.wait_for_end()

    with ScriptedServer(after_inbox(silent)) as server:
        session = open_inbox(opened, server, timeout=0.3)
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


def test_a_dripping_server_cannot_hold_a_command(opened: Opener) -> None:
    def drip(peer: Peer) -> None:
        peer.expect("UID FETCH")
        peer.drip(b"* 1 FETCH (UID 1 BODY[] {1000}\r\n" + b"x" * 1000, 0.02)

    with ScriptedServer(after_inbox(drip)) as server:
        session = open_inbox(opened, server, timeout=0.4)
        begin = time.monotonic()
        with pytest.raises(ImapTimeoutError):
            session.fetch([1], ["BODY.PEEK[]"])
        assert time.monotonic() - begin < 2


def test_dripping_lines_cannot_hold_a_command_either(opened: Opener) -> None:
    def drip(peer: Peer) -> None:
        peer.expect("NOOP")
        while not peer._server.stopping.wait(0.05):
            peer.send("* OK still working")

    with ScriptedServer(after_inbox(drip)) as server, pytest.raises(ImapTimeoutError):
        open_inbox(opened, server, timeout=0.4).noop()


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
    with pytest.raises(LostConnectionError, match="shutting down"):
        session.noop()


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


# -- ending -----------------------------------------------------------------------------------------------------------


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
