from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_imap_provider.errors import (
    ProtocolError,
    RefusedError,
    SettingsError,
)
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import Opener
from tests.transport.inbox import MAIL, after_inbox, open_inbox


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


@pytest.mark.parametrize(
    ("told", "uids"),
    [
        (['* ESEARCH (TAG "A1") UID ALL 4:5,9'], [4, 5, 9]),
        (['* ESEARCH (TAG "A1") UID'], []),
        (["* SEARCH"], []),
        ([], []),
    ],
    ids=["extended", "extended and nothing", "nothing", "no word"],
)
def test_a_search_is_read_in_whatever_form_servers_answer_it(opened: Opener, told: list[str], uids: list[int]) -> None:
    """A line is due even if nothing is found, and iCloud sends none."""

    def search(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        peer.ok(*told)
        peer.expect("UID SEARCH")
        peer.ok("* SEARCH 7")

    with ScriptedServer(after_inbox(search)) as server:
        session = open_inbox(opened, server)
        assert session.search(["ALL"]) == uids
        assert session.search(["ALL"]) == [7]


def test_an_extended_search_that_cannot_be_read_is_an_error_and_not_nothing(opened: Opener) -> None:
    def search(peer: Peer) -> None:
        peer.expect("UID SEARCH")
        peer.ok('* ESEARCH (TAG "A1") UID ALL 1:4294967295')

    with ScriptedServer(after_inbox(search)) as server, pytest.raises(ProtocolError):
        open_inbox(opened, server).search(["ALL"])


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
