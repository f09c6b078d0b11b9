"""A connection that was edited and leads to another mailbox with the same UIDVALIDITY and UIDs: nobody else's mail is
read, saved, marked or deleted for the one that was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.hooks.imap4 import Imap4Hook
from airflow_imap_provider.mailbox.actions import Action, Copy, Delete, Flag, Forward, MarkRead, Move, Save
from airflow_imap_provider.mailbox.lookup import NotFoundError
from tests.mailbox.test_following import ARRIVED, letter
from tests.servers.dovecot import Dovecot, User
from tests.servers.smtp import Outbox
from tests.triggers.conftest import connection

OTHER = b"SOMEBODY"
Connect = Callable[[User], Imap4Hook]


@pytest.fixture
def other(dovecot: Dovecot) -> User:
    return dovecot.new_user()


@pytest.fixture
def connect(dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Let the connection lead to a mailbox, as whoever edits it does."""
    opened: list[Imap4Hook] = []

    def connected(user: User) -> Imap4Hook:
        monkeypatch.setenv("AIRFLOW_CONN_MAILBOX", connection(dovecot, user))
        opened.append(Imap4Hook("mailbox"))
        return opened[-1]

    yield connected
    for hook in opened:
        hook.close()


@pytest.fixture
def swapped(dovecot: Dovecot, user: User, other: User, connect: Connect) -> Callable[..., tuple[Imap4Hook, Any]]:
    """Deliver a mail to each of two mailboxes that have the same UIDVALIDITY; tell of one, and open the other."""

    def told(mine: bytes, others: bytes, later: float = 0, **how: Any) -> tuple[Imap4Hook, Any]:
        dovecot.deliver(user, mine, received=ARRIVED)
        dovecot.deliver(other, others, received=ARRIVED + timedelta(seconds=later))
        for each in (user, other):
            dovecot.set_uidvalidity(each, 7)
        with connect(user) as hook:
            [email] = hook.search(**how)
        assert (email["uidvalidity"], email["uid"]) == (7, 1)
        return connect(other), email

    return told


def flags(hook: Imap4Hook) -> list[list[str]]:
    return [email["flags"] for email in hook.search()]


@pytest.mark.parametrize(
    ("mine", "others", "later", "what"),
    [
        (letter(), letter(OTHER, message_id="<2@example.com>"), 0, "Message-ID"),
        (letter(), letter(OTHER, message_id=""), 0, "Message-ID"),
        (letter(), letter(OTHER), 1, "date of arrival"),
        (letter(message_id=f"<{'x' * 500}@example.com>"), letter(OTHER, message_id="<2@example.com>"), 0, "Message-ID"),
        (letter(message_id=""), letter(OTHER, message_id=""), 1, "date of arrival"),
        (letter(message_id=""), letter(b"A longer one.", message_id=""), 0, "size"),
    ],
)
def test_another_mail_under_the_same_numbers_is_not_touched(
    swapped: Callable[..., tuple[Imap4Hook, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mine: bytes,
    others: bytes,
    later: float,
    what: str,
) -> None:
    hook, email = swapped(mine, others, later)
    save: list[Action] = [Save(str(tmp_path)), Delete()]
    taken = rf"mail 1 is not in INBOX any more: its UID is that of another mail \(another {what}\)"
    with Outbox() as outbox:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", outbox.connection())
        with pytest.raises(NotFoundError, match=taken) as caught:
            hook.save(email, str(tmp_path))
        for actions in (save, [Delete()], [Flag(), Move("Done", create=True)]):
            with pytest.raises(NotFoundError, match=taken):
                hook.follow(email, actions)
        with pytest.raises(NotFoundError, match=taken):
            list(hook.attachments(email))
        with pytest.raises(NotFoundError, match=taken):
            hook.forward(email, "ann@example.com")
        for actions in (save, [MarkRead()], [Forward("ann@example.com")], [Copy("Done", create=True)]):
            with pytest.raises(SettingsError, match=rf"'INBOX' of 'mailbox' .*UID 1 \(another {what}\)"):
                hook.act(email, actions)
        assert outbox.messages == []
    assert "edited" in caught.value.remedy
    assert not hook.exists(email)
    assert (list(tmp_path.iterdir()), flags(hook)) == ([], [[]])
    assert [folder.name for folder in hook.folders()] == ["INBOX"]


def test_a_payload_without_addresses_is_enough_to_know_a_mail(
    swapped: Callable[..., tuple[Imap4Hook, Any]],
) -> None:
    hook, email = swapped(letter(), letter(OTHER, message_id="<2@example.com>"))
    minimal = {name: email[name] for name in ("key", "folder", "uid", "uidvalidity", "message_id", "size", "received")}
    with pytest.raises(SettingsError, match="other mails now"):
        hook.act(minimal, Delete())
    assert flags(hook) == [[]]


def test_nothing_is_done_in_one_folder_if_another_one_has_other_mails(
    dovecot: Dovecot, user: User, other: User, connect: Connect
) -> None:
    for each, message_id in ((user, "<1@example.com>"), (other, "<2@example.com>")):
        dovecot.create_folder(each, "Work")
        dovecot.deliver(each, letter(), received=ARRIVED)
        dovecot.deliver(each, letter(message_id=message_id), "Work", received=ARRIVED)
        for folder in ("INBOX", "Work"):
            dovecot.set_uidvalidity(each, 7, folder)
    with connect(user) as hook:
        emails = hook.search() + hook.search(folder="Work")
    hook = connect(other)
    with pytest.raises(SettingsError, match="'Work'"):
        hook.act(emails, Flag())
    assert flags(hook) == [[]], "the mail of INBOX cannot be told from mine, and yet"


def test_what_may_differ_by_the_server_or_is_not_known_stops_nothing(
    dovecot: Dovecot, user: User, connect: Connect
) -> None:
    raw = b"Message-ID: <gr\xfc\xdfe@example.com>\r\n" + letter(message_id="")
    dovecot.deliver_all(user, [letter(message_id="<1@example.com>"), letter(message_id=""), raw])
    hook = connect(user)
    first, second, third = hook.search(code_page="koi8-r")
    bare = {name: second[name] for name in ("key", "folder", "uid", "uidvalidity")}
    emails: list[dict[str, Any]] = [{**first, "size": first["size"] + 40}, bare, third]
    hook.act(emails, Flag())
    hook.follow(emails, MarkRead())
    assert flags(hook) == [["\\Flagged", "\\Seen"]] * 3


def test_a_mail_that_is_gone_does_not_count_as_another_one(dovecot: Dovecot, user: User, connect: Connect) -> None:
    dovecot.deliver_all(user, [letter(message_id=f"<{number}@example.com>") for number in range(3)])
    hook = connect(user)
    emails = hook.search()
    dovecot.expunge(user, [2])
    hook.act(emails, Flag())
    assert flags(hook) == [["\\Flagged"]] * 2
