"""Actions on real servers, also on one without MOVE and one that cannot remove single mails."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from airflow_imap_provider.errors import FolderNotFoundError, RefusedError, SettingsError
from airflow_imap_provider.mailbox.actions import (
    Action,
    AddKeyword,
    AddLabel,
    Copy,
    Delete,
    Flag,
    MarkRead,
    MarkUnread,
    Move,
    RemoveKeyword,
    RemoveLabel,
    Unflag,
    perform,
)
from airflow_imap_provider.mailbox.removing import copied_mark
from airflow_imap_provider.transport.session import Session, open_session
from tests.mailbox.test_reader import message
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import CAPABILITIES, Peer, ScriptedServer
from tests.transport.conftest import settings_for

BASIC = "IMAP4rev1 LITERAL+ ID IDLE"


@pytest.fixture(scope="module", params=["MOVE UIDPLUS", "UIDPLUS", ""], ids=["MOVE", "UIDPLUS only", "neither"])
def server(dovecot: Dovecot, request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    limited = Dovecot(capabilities=f"{BASIC} {request.param}".strip())
    limited.start()
    yield limited
    limited.remove()


@pytest.fixture
def mailbox(server: Dovecot) -> User:
    owner = server.new_user()
    server.create_folder(owner, "Done")
    server.deliver_all(owner, [message(f"mail {number}") for number in range(1, 5)])
    return owner


@pytest.fixture
def session(server: Dovecot, mailbox: User) -> Iterator[Session]:
    opened = open_session(server.settings(mailbox))
    opened.select("INBOX", readonly=False)
    yield opened
    opened.close()


def uids(server: Dovecot, owner: User, key: str = "ALL", folder: str = "INBOX") -> list[int]:
    with server.connection(owner) as client:
        client.select(folder, readonly=True)
        return [int(uid) for uid in client.uid("SEARCH", key)[1][0].split()]


def test_flags_and_keywords_are_set_and_removed(server: Dovecot, mailbox: User, session: Session) -> None:
    perform(session, [1, 3], [MarkRead(), Flag(), AddKeyword("$Invoice")])
    assert uids(server, mailbox, "SEEN FLAGGED KEYWORD $Invoice") == [1, 3]
    perform(session, [1], [MarkUnread(), Unflag(), RemoveKeyword("$Invoice")])
    assert uids(server, mailbox, "SEEN FLAGGED KEYWORD $Invoice") == [3]


def test_a_copy_leaves_the_mail(server: Dovecot, mailbox: User, session: Session) -> None:
    perform(session, [2], [Copy("Done")])
    assert uids(server, mailbox) == [1, 2, 3, 4]
    assert len(uids(server, mailbox, folder="Done")) == 1


def test_a_copy_into_the_folder_itself_is_made_once_at_most(server: Dovecot, mailbox: User, session: Session) -> None:
    for _ in range(3):
        with pytest.raises(SettingsError, match="is the folder 'INBOX' itself"):
            perform(session, [1], [Copy("INBOX")])
    assert uids(server, mailbox) == [1, 2, 3, 4, 5]


def test_moving_and_deleting_take_these_mails_and_no_others(server: Dovecot, mailbox: User, session: Session) -> None:
    session.add_flags([4], ["\\Deleted"])  # somebody else's intention
    if not session.has("UIDPLUS"):
        for action in (Move("Done"), Delete()):
            with pytest.raises(RefusedError, match="neither MOVE nor UIDPLUS"):
                perform(session, [1], [action])
        assert uids(server, mailbox, folder="Done") == []
        assert uids(server, mailbox) == [1, 2, 3, 4]
        return
    perform(session, [1, 99], [Move("Done")])
    perform(session, [2], [Delete()])
    assert uids(server, mailbox) == [3, 4]
    assert len(uids(server, mailbox, folder="Done")) == 1


def test_a_move_that_was_interrupted_after_its_copy_does_not_copy_again(
    server: Dovecot, mailbox: User, session: Session
) -> None:
    if not session.has("UIDPLUS") or session.has("MOVE"):
        perform(session, [1], [MarkRead()], repeated=True)
        return  # these servers have no such moment
    with_expunge, session.expunge = session.expunge, _refused  # type: ignore[method-assign,assignment]
    with pytest.raises(RefusedError, match="interrupted"):
        perform(session, [1], [Move("Done")])
    session.expunge = with_expunge  # type: ignore[method-assign]
    perform(session, [1, 2], [Move("Done")], repeated=True)
    assert uids(server, mailbox) == [3, 4]
    assert len(uids(server, mailbox, folder="Done")) == 2
    assert uids(server, mailbox, "DELETED", folder="Done") == []


def _refused(_uids: object) -> None:
    raise RefusedError("interrupted", stage="EXPUNGE")


def test_a_mail_that_somebody_else_has_marked_as_deleted_is_moved_whole_by_a_repeated_move(
    server: Dovecot, mailbox: User, session: Session
) -> None:
    if not session.has("UIDPLUS"):
        return
    session.add_flags([1], ["\\Deleted"])
    perform(session, [1, 2, 99], [Move("Done")], repeated=True)
    assert uids(server, mailbox) == [3, 4]
    assert len(uids(server, mailbox, folder="Done")) == 2
    if not session.has("MOVE"):
        assert uids(server, mailbox, "DELETED", folder="Done") == [], "the next expunge there would remove it"


class WithoutMove:
    """A server without MOVE, with mails 1 to 3 in its folder.

    :param flags: what it tells of a mail; of those that are missing nothing.
    :param keywords: whether it takes such.
    """

    def __init__(self, flags: dict[int, str], *, keywords: bool = True) -> None:
        self.flags, self.keywords = flags, keywords
        self.changes: list[str] = []

    def __call__(self, peer: Peer) -> None:
        peer.serve_inbox("IMAP4rev1 UIDPLUS AUTH=PLAIN")
        while True:
            peer.tag, _, command = peer.line().partition(" ")
            if command.startswith("UID FETCH"):
                peer.ok(*(f"* {uid} FETCH (UID {uid} FLAGS ({flags}))" for uid, flags in self.flags.items()))
            elif command.startswith("UID SEARCH"):
                peer.ok("* SEARCH 1 2 3")
            elif command.startswith("NOOP"):
                peer.ok()
            else:
                self.changes.append(command.removeprefix("UID "))
                if "Imap4-Copied" in command and not self.keywords:
                    peer.no("no such flag")
                else:
                    peer.ok()


def move_again(folder: WithoutMove) -> None:
    with ScriptedServer(folder) as server:
        session = open_session(settings_for(server))
        session.select("INBOX", readonly=False)
        try:
            perform(session, [1, 2, 3], [Move("Done")], repeated=True)
        finally:
            session.close()


def test_a_mail_of_which_the_server_tells_nothing_is_neither_copied_nor_removed() -> None:
    mark = copied_mark("Done")
    folder = WithoutMove({1: "", 3: f"\\Deleted {mark.upper()}"})
    with pytest.raises(RefusedError, match="they stay where they are"):
        move_again(folder)
    assert folder.changes == ['COPY 1 "Done"', f"STORE 1 +FLAGS.SILENT (\\Deleted {mark})", "EXPUNGE 1,3"]


def test_where_no_keyword_can_be_set_a_mail_is_rather_copied_twice() -> None:
    folder = WithoutMove({1: "\\Deleted", 2: "", 3: "\\Deleted"}, keywords=False)
    move_again(folder)
    assert folder.changes == [
        "STORE 1,3 -FLAGS.SILENT (\\Deleted)",
        'COPY 1:3 "Done"',
        f"STORE 1:3 +FLAGS.SILENT (\\Deleted {copied_mark('Done')})",
        "STORE 1:3 +FLAGS.SILENT (\\Deleted)",
        "EXPUNGE 1:3",
    ]


def test_a_target_that_is_not_there_is_named_and_nothing_is_lost(
    server: Dovecot, mailbox: User, session: Session
) -> None:
    with pytest.raises(FolderNotFoundError if session.has("UIDPLUS") else RefusedError):
        perform(session, [1], [Move("Nowhere")])
    assert uids(server, mailbox) == [1, 2, 3, 4]
    assert uids(server, mailbox, "DELETED") == []


def test_a_target_is_made_and_subscribed_to_when_that_is_asked_for(
    server: Dovecot, mailbox: User, session: Session
) -> None:
    perform(session, [1, 2], [Copy("New/Größe", create=True)])
    perform(session, [3], [Copy("New/Größe", create=True)])  # there by now
    with server.connection(mailbox) as client:
        assert client.select("New/Gr&APYA3w-e", readonly=True)[1] == [b"3"]
        assert any(b"New/Gr&APYA3w-e" in line for line in client.lsub()[1])
    if session.has("UIDPLUS"):
        perform(session, [1], [Move("Another", create=True)])
        assert len(uids(server, mailbox, folder="Another")) == 1


@pytest.mark.parametrize("action", [Copy("INBOX"), Move("inbox"), Copy("Alias/INBOX")], ids=["copy", "move", "alias"])
def test_a_target_that_is_the_folder_itself_is_noticed_and_no_second_copy_is_made(action: Action) -> None:
    """A scripted server, for this one has two names for a folder, and says so only by its answer."""
    moves = action.do == "move"

    def script(peer: Peer) -> None:
        peer.serve_inbox()
        for uid in (4, 5):
            if uid == 5 and back:
                break
            assert peer.expect("UID").startswith(f"{action.do.upper()} 1 ")
            told = [f"* OK [COPYUID 7 1 {uid}] moved", "* 1 EXPUNGE"] if moves else []
            words = "done" if moves else f"[COPYUID 7 1 {uid}] copied"
            peer.ok(*told, f"* {uid - moves} EXISTS", words=words)
            assert peer.expect("UID") == f"SEARCH UID {uid}"
            peer.ok(f"* SEARCH {uid}" if back else "* SEARCH")
        if not back:
            # No mail was announced, or the UID is of another folder's counting.
            peer.expect("UID")
            peer.ok(words="[COPYUID 7 1 9] copied")
            peer.expect("UID")
            peer.ok("* 7 EXISTS", words="[COPYUID 8 1 9] copied")

    for back in (False, True):
        with ScriptedServer(script) as server:
            session = open_session(settings_for(server))
            session.select("INBOX", readonly=False)
            for _ in range(4 if not back else 3):
                if back:
                    with pytest.raises(SettingsError, match=r"is the folder 'INBOX' itself.*Name another folder"):
                        perform(session, [1], [action])
                else:
                    perform(session, [1], [action])
            session.close()


def test_gmails_labels_are_put_on_and_taken_off() -> None:
    r"""No real Gmail: a peer that keeps labels as Google says it does (https://developers.google.com/workspace/gmail/imap/imap-extensions).

    Labels are sets of a mail's own, apart from flags; adding one that is there, or taking off one that is not, changes
    nothing; names are in modified UTF-7, and those with a backslash are Gmail's own.
    """
    kept: dict[int, set[str]] = {uid: {'"\\\\Inbox"'} for uid in (1, 2, 3)}

    def script(peer: Peer) -> None:
        peer.serve_inbox(f"{CAPABILITIES} X-GM-EXT-1")
        while True:
            command, uids, what, label = re.fullmatch(
                r"(STORE) (\S+) ([+-])X-GM-LABELS \((.*)\)", peer.expect("UID")
            ).groups()  # type: ignore[union-attr]
            assert command == "STORE"
            first, _, last = uids.partition(":")
            answers = []
            for uid in range(int(first), int(last or first) + 1):
                kept[uid] = kept[uid] | {label} if what == "+" else kept[uid] - {label}
                answers.append(f"* {uid} FETCH (X-GM-LABELS ({' '.join(sorted(kept[uid]))}) UID {uid})")
            peer.ok(*answers)

    with ScriptedServer(script) as gmail:
        session = open_session(settings_for(gmail))
        session.select("INBOX", readonly=False)
        invoices = [AddLabel("Invoices"), RemoveLabel("\\Inbox")]
        perform(session, [1, 2], invoices)
        perform(session, [1, 2], invoices, repeated=True)
        perform(session, [2], [RemoveLabel("Invoices"), AddLabel("Größe")])
        session.close()
    assert kept == {1: {'"Invoices"'}, 2: {'"Gr&APYA3w-e"'}, 3: {'"\\\\Inbox"'}}


def test_labels_are_quoted_and_encoded_for_gmail() -> None:
    def script(peer: Peer) -> None:
        peer.serve_inbox(f"{CAPABILITIES} X-GM-EXT-1")
        for sign, label in (("+", '"Gr&APYA3w-e \\"1\\""'), ("-", '"\\\\Inbox"')):
            assert peer.expect("UID") == f"STORE 1:2 {sign}X-GM-LABELS ({label})"
            peer.ok(f"* 1 FETCH (X-GM-LABELS ({label}) UID 1)")

    with ScriptedServer(script) as gmail:
        session = open_session(settings_for(gmail))
        session.select("INBOX", readonly=False)
        perform(session, [1, 2], [AddLabel('Größe "1"'), RemoveLabel("\\Inbox")])
        session.close()


def test_labels_are_refused_where_there_are_none(session: Session) -> None:
    with pytest.raises(RefusedError, match="X-GM-EXT-1"):
        perform(session, [1], [AddLabel("Invoices")])
