"""A mail that was moved, beside mails that look like it: on a real server, and never another one than the one told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.errors import RefusedError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Copy, Delete, Flag, MarkRead, Move, Save
from airflow_imap_provider.mailbox.lookup import AmbiguousError, NotFoundError, locate
from airflow_imap_provider.transport.session import open_session
from tests.hooks.test_imap4_hook import with_attachment
from tests.servers.dovecot import Dovecot, User
from tests.servers.pymap_server import PymapServer
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import settings_for
from tests.triggers.conftest import connection

ARRIVED = datetime(2026, 3, 31, 7, 15, 2, tzinfo=timezone.utc)


@pytest.fixture
def hook(dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imap4Hook]:
    monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
    for folder in ("Archive", "Processed", "Done"):
        dovecot.create_folder(user, folder)
    with Imap4Hook("mailbox") as opened:
        yield opened


def letter(content: bytes = b"GENUINE.", *, message_id: str = "<1@example.com>") -> bytes:
    raw = re.sub(rb"Message-ID: [^\r]*\r\n", b"", with_attachment("invoice", "i.csv", content))
    return (f"Message-ID: {message_id}\r\n".encode() if message_id else b"") + raw


def told(dovecot: Dovecot, user: User, hook: Imap4Hook, raw: bytes | None = None) -> dict[str, Any]:
    """Deliver a mail and return it as it is told."""
    dovecot.deliver(user, letter() if raw is None else raw, received=ARRIVED)
    [email] = hook.search()
    return email


def contents(dovecot: Dovecot, user: User, folder: str) -> list[bytes]:
    """Which mails a folder has, by the attachment that was sent in each."""
    with dovecot.connection(user) as client:
        client.select(f'"{folder}"', readonly=True)
        numbers = client.search(None, "ALL")[1][0].split()
        return [client.fetch(number, "(BODY.PEEK[2])")[1][0][1].strip() for number in numbers]


GENUINE, ATTACKER = b"R0VOVUlORS4=", b"QVRUQUNLRVI="


# -- twins -------------------------------------------------------------------------------------------------------------


def test_a_mail_with_the_message_id_of_one_that_was_moved_is_not_taken_for_it(
    dovecot: Dovecot, user: User, hook: Imap4Hook
) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Move("Processed"))
    # Of the same size, but later; and at the same second, but larger.
    dovecot.deliver(user, letter(b"ATTACKER"), received=ARRIVED + timedelta(seconds=1))
    dovecot.deliver(user, letter(b"ATTACKER's"), received=ARRIVED)
    [attachment] = hook.attachments(email)
    assert attachment.content == b"GENUINE."
    [followed] = hook.follow(email, [Flag(), Move("Done")])
    assert contents(dovecot, user, "Done") == [GENUINE]
    assert len(contents(dovecot, user, "INBOX")) == 2
    assert (followed["folder"], followed["key"]) == ("Done", email["key"])
    [attachment] = hook.attachments(followed)
    assert attachment.content == b"GENUINE."


def test_when_only_a_twin_is_left_the_error_names_its_folder(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    dovecot.expunge(user, [1])
    dovecot.deliver(user, letter(b"ATTACKER"), "Archive", received=ARRIVED + timedelta(hours=1))
    with pytest.raises(NotFoundError, match="'Archive' have another size or date"):
        list(hook.attachments(email))
    with pytest.raises(NotFoundError, match="'Archive' have another size or date"):
        hook.follow(email, Move("Done"))
    assert not hook.exists(email)
    assert contents(dovecot, user, "Archive") == [ATTACKER]


def test_twins_of_the_same_size_and_second_are_an_error_that_names_the_folders(
    dovecot: Dovecot, user: User, hook: Imap4Hook
) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Move("Processed"))
    dovecot.deliver(user, letter(b"ATTACKER"), received=ARRIVED)
    with pytest.raises(AmbiguousError, match=r"differ: '(INBOX', 'Processed|Processed', 'INBOX)'"):
        list(hook.attachments(email))
    with pytest.raises(AmbiguousError, match=r"several folders: .*Processed") as caught:
        hook.follow(email, Move("Done"))
    assert "look_in" in caught.value.remedy
    assert contents(dovecot, user, "Done") == []
    [followed] = hook.follow(email, Move("Done"), look_in=["Processed"])
    assert contents(dovecot, user, "Done") == [GENUINE]
    assert followed["folder"] == "Done"


def test_a_twin_in_the_same_folder_is_an_error_too(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Move("Processed"))
    dovecot.deliver(user, letter(b"ATTACKER"), "Processed", received=ARRIVED)
    with pytest.raises(AmbiguousError, match="differ: 'Processed'"):
        hook.follow(email, Move("Done"), look_in=["Processed"])
    assert len(contents(dovecot, user, "Processed")) == 2


# -- copies ------------------------------------------------------------------------------------------------------------


def test_a_copy_can_be_read_for_the_mail_but_not_acted_on(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, [Copy("Archive"), Move("Processed")])
    [attachment] = hook.attachments(email)
    assert attachment.content == b"GENUINE."
    with pytest.raises(AmbiguousError, match="several folders"):
        hook.follow(email, Flag())
    [followed] = hook.follow(email, Flag(), look_in=["Processed"])
    assert followed["folder"] == "Processed"


def test_two_equal_copies_in_one_folder_are_one_mail(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    """So a Move without MOVE may leave it after a crash."""
    email = told(dovecot, user, hook)
    hook.act(email, [Copy("Processed"), Move("Processed")])
    [followed] = hook.follow(email, Move("Done"))
    assert followed["folder"] == "Done"
    assert len(contents(dovecot, user, "Processed")) == 1


def test_the_retry_of_a_copy_and_a_move_finds_what_it_has_moved(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    actions = [Copy("Archive"), Flag(), Move("Done")]
    first = hook.follow(email, actions)
    assert hook.follow(email, actions[1:], repeated=True) == first
    assert contents(dovecot, user, "Archive") == contents(dovecot, user, "Done") == [GENUINE]
    # And of a copy of a mail that somebody has moved before.
    moved = {**email, **{name: first[0][name] for name in ("folder", "uid", "uidvalidity")}}
    hook.act(moved, Move("Processed"))
    dovecot.expunge(user, [1], "Archive")
    assert hook.follow(email, [Copy("Archive"), Flag()])[0]["folder"] == "Processed"
    assert hook.follow(email, [Copy("Archive"), Flag()], repeated=True)[0]["folder"] == "Processed"


def test_the_folder_of_all_mails_does_not_make_a_mail_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = 'namespace inbox {\n mailbox "All Mail" {\n special_use = \\All\n auto = create\n }\n}\n'
    server = Dovecot(more=everything)
    server.start()
    try:
        user = server.new_user()
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(server, user))
        server.create_folder(user, "Processed")
        with Imap4Hook("mailbox") as hook:
            email = told(server, user, hook)
            hook.act(email, [Copy("All Mail"), Move("Processed")])
            assert hook.follow(email, Flag())[0]["folder"] == "Processed"
            server.expunge(user, [1], "Processed")
            assert hook.follow(email, Flag())[0]["folder"] == "All Mail", "it was archived"
    finally:
        server.remove()


def test_a_server_that_identifies_contents_is_asked_instead_of_downloading_copies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 8474; so does Gmail in its own way."""
    with PymapServer("alice", "s3cret") as server:
        stored = {"conn_type": "imap4", "host": server.host, "port": server.port, "login": "alice"}
        extra = {"encryption": "none", "auth_method": "plain"}
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", json.dumps({**stored, "password": "s3cret", "extra": extra}))
        with Imap4Hook("mailbox") as hook:
            client = hook.get_conn()
            assert client.has_capability("OBJECTID")
            for folder in ("Archive", "Processed"):
                client.create_folder(folder)
            client.append("INBOX", letter(), (), ARRIVED)
            [email] = hook.search()
            hook.act(email, [Copy("Archive"), Move("Processed")])
            asked = hook.session().fetch
            items: list[str] = []
            monkeypatch.setattr(
                hook.session(), "fetch", lambda uids, wanted: items.extend(wanted) or asked(uids, wanted)
            )
            [attachment] = hook.attachments(email)
            assert attachment.content == b"GENUINE."
            assert "EMAILID" in items


# -- deleting ----------------------------------------------------------------------------------------------------------


def test_a_repeated_delete_leaves_the_copy_in_the_archive(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Copy("Archive"))
    assert hook.follow(email, Delete()) == [email]
    assert contents(dovecot, user, "INBOX") == []
    for _ in range(2):
        assert hook.follow(email, Delete(), repeated=True) == [email]
    assert contents(dovecot, user, "Archive") == [GENUINE]


def test_a_mail_to_delete_is_not_followed(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Move("Processed"))
    with pytest.raises(NotFoundError, match="a mail is not followed") as caught:
        hook.follow(email, [MarkRead(), Delete()])
    assert "look_in" in caught.value.remedy
    assert contents(dovecot, user, "Processed") == [GENUINE]
    hook.follow(email, Delete(), look_in=["Archive", "Processed"])
    assert contents(dovecot, user, "Processed") == []


def test_a_mail_is_deleted_where_the_operator_before_has_left_it(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Copy("Archive"))
    [moved] = hook.follow(email, Move("Processed"))
    hook.follow(moved, Delete())
    hook.follow(moved, Delete(), repeated=True)
    assert contents(dovecot, user, "Processed") == []
    assert contents(dovecot, user, "Archive") == [GENUINE]


# -- what is not told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacking", ["message_id", "size", "received"])
def test_a_mail_without_an_identity_is_followed_by_the_uid_that_the_server_gives_it(
    dovecot: Dovecot, user: User, hook: Imap4Hook, lacking: str
) -> None:
    email = told(dovecot, user, hook, letter(message_id="") if lacking == "message_id" else None)
    if lacking != "message_id":
        del email[lacking]
    # So that UIDs there are others.
    dovecot.deliver(user, letter(b"ATTACKER", message_id=""), "Processed", received=ARRIVED)
    moved = hook.follow(email, [Copy("Archive"), Move("Processed")])
    assert [(each["folder"], each["uid"]) for each in moved] == [("Processed", 2)]
    [moved] = hook.follow(moved, [Flag(), Move("Done")])
    assert (moved["folder"], moved["key"]) == ("Done", email["key"])
    assert contents(dovecot, user, "Done") == [GENUINE]
    hook.act(moved, Move("INBOX"))
    with pytest.raises(NotFoundError, match="without Message-ID, size and date of arrival"):
        hook.follow(moved, Flag())
    assert contents(dovecot, user, "INBOX") == [GENUINE]


@pytest.mark.parametrize("capabilities", ["UIDPLUS", "MOVE", "UIDPLUS MOVE"])
@pytest.mark.parametrize("tells", [True, False], ids=["tells", "does not tell"])
def test_a_move_that_ends_with_other_commands_is_followed_too(
    capabilities: str, tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without MOVE the mail is marked and expunged after the COPY that has told its UID."""
    header = b"BODY[HEADER.FIELDS (SUBJECT)] {16}\r\nSubject: one\r\n\r\n)"

    def script(peer: Peer) -> None:
        peer.let_in(f"IMAP4rev1 AUTH=PLAIN SASL-IR {capabilities}")
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            if command.startswith(("SELECT", "EXAMINE")):
                access = "READ-ONLY" if command.startswith("EXAMINE") else "READ-WRITE"
                peer.ok("* 1 EXISTS", "* OK [UIDVALIDITY 7] v", "* OK [UIDNEXT 4] n", words=f"[{access}]")
            elif command.startswith("UID FETCH"):
                peer.ok(b'* 1 FETCH (UID 3 FLAGS () INTERNALDATE "01-Nov-2026 00:00:00 +0000" RFC822.SIZE 60 ' + header)
            elif command.startswith(("UID COPY", "UID MOVE")) and tells:
                peer.ok(words="[COPYUID 9 3 41] done")
            elif command.startswith("LOGOUT"):
                peer.send("* BYE")
                peer.ok()
                return
            else:
                peer.ok()

    with ScriptedServer(script) as server:
        extra = {"encryption": "none", "timeout": 5}
        stored = {"conn_type": "imap4", "host": server.host, "port": server.port, "login": "me", "password": "pw"}
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", json.dumps({**stored, "extra": extra}))
        seen = {"key": "mail.m.i.1.7.3", "folder": "INBOX", "uid": 3, "uidvalidity": 7}
        with Imap4Hook("mailbox") as opened:
            [moved] = opened.follow(seen, Move("Done"))
    place = (moved["folder"], moved["uid"], moved["uidvalidity"])
    assert place == (("Done", 41, 9) if tells else ("INBOX", 3, 7))


def test_a_mail_whose_message_id_was_shortened_is_found_again(dovecot: Dovecot, user: User, hook: Imap4Hook) -> None:
    email = told(dovecot, user, hook, letter(message_id=f"<{'x' * 500}@example.com>"))
    assert email["message_id"].endswith("…")
    hook.act(email, Move("Processed"))
    dovecot.deliver(user, letter(b"ATTACKER", message_id=f"<{'x' * 500}@example.org>"))
    [attachment] = hook.attachments(email)
    assert attachment.content == b"GENUINE."


def test_a_folder_that_is_not_there_any_more_does_not_end_the_search(
    dovecot: Dovecot, user: User, hook: Imap4Hook
) -> None:
    dovecot.create_folder(user, "Soon")
    dovecot.deliver(user, letter(), "Soon", received=ARRIVED)
    [email] = hook.search(folder="Soon")
    hook.act(email, Move("Processed"))
    hook.close()
    dovecot.delete_folder(user, "Soon")
    [attachment] = hook.attachments(email)
    assert attachment.content == b"GENUINE."
    assert hook.follow(email, Move("Done"), look_in=["Nowhere"])[0]["folder"] == "Done"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("[UNAVAILABLE] Service temporarily unavailable", RefusedError),
        ("[THROTTLED] Account exceeded command or bandwidth limits", RefusedError),
        ("[NOPERM] Permission denied", NotFoundError),
    ],
)
def test_a_server_that_has_enough_does_not_say_that_the_mail_is_not_there(words: str, said: type[Exception]) -> None:
    def script(peer: Peer) -> None:
        peer.let_in()
        peer.expect("EXAMINE")
        peer.no("[NONEXISTENT] Mailbox does not exist")
        peer.expect("EXAMINE")
        peer.no(words)
        peer.expect("LOGOUT")
        peer.ok("* BYE")

    email = {"folder": "Gone", "uid": 1, "uidvalidity": 7, "message_id": "<1@example.com>", "size": 9}
    with ScriptedServer(script) as server:
        session = open_session(settings_for(server))
        try:
            with pytest.raises(said):
                locate(session, {**email, "received": ARRIVED.isoformat()}, "c", look_in=["Done"], elsewhere=False)
        finally:
            session.close()


def test_saving_and_deleting_in_one_go_is_repeated_without_harm(
    dovecot: Dovecot, user: User, hook: Imap4Hook, tmp_path: Any
) -> None:
    email = told(dovecot, user, hook)
    hook.act(email, Copy("Archive"))
    for repeated in (False, True):
        hook.follow(email, [Save(str(tmp_path)), Delete()], repeated=repeated)
    assert [path.read_bytes() for path in tmp_path.rglob("*.csv")] == [b"GENUINE."]
    assert contents(dovecot, user, "Archive") == [GENUINE]
