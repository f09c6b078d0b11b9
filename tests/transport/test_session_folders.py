from __future__ import annotations

import pytest

from airflow_imap_provider.errors import (
    FolderNotFoundError,
    ImapError,
    ProtocolError,
    RefusedError,
    SettingsError,
)
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import Opener, settings_for
from tests.transport.inbox import MAIL, after_inbox, open_inbox


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


@pytest.mark.parametrize("words", ["Unable to open this mailbox.", "[NONEXISTENT] Unknown Mailbox: Bills"])
def test_a_folder_that_is_not_there_comes_with_what_to_check(words: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("EXAMINE")
        peer.no(words)

    with ScriptedServer(script) as server, pytest.raises(FolderNotFoundError, match="the folder 'Bills'") as caught:
        opened(settings_for(server)).select("Bills", readonly=True)
    assert words in str(caught.value)
    assert "prefix such as INBOX." in caught.value.remedy


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("bad", "User is authenticated but not connected."),
        ("no", "User is authenticated but not connected."),
        ("no", "[ALERT] Account exceeded command or bandwidth limits. (Failure)"),
        ("no", "[NOPERM] not yours"),
        ("no", "[OVERQUOTA] full"),
        ("no", "[CONTACTADMIN] locked"),
        ("bad", "Command not allowed now"),
    ],
)
def test_a_refusal_for_another_reason_does_not_call_the_folder_missing(verb: str, words: str, opened: Opener) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("EXAMINE")
        getattr(peer, verb)(words)

    with ScriptedServer(script) as server, pytest.raises(RefusedError, match="the folder 'Bills'") as caught:
        opened(settings_for(server)).select("Bills", readonly=True)
    assert not isinstance(caught.value, FolderNotFoundError)
    assert words in str(caught.value)
    assert "prefix" not in str(caught.value)


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
        with pytest.raises(FolderNotFoundError, match=r"TRYCREATE.*Give create=True, or check the folder's name"):
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
