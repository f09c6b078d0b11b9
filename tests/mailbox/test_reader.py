"""Reading what is new: bounded batches, sparse and huge folders, mails that vanish."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import Body, Condition, Conditions, From, Received, Subject
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox import deciding
from airflow_imap_provider.mailbox import reader as reading
from airflow_imap_provider.mailbox.actions import Flag, MarkRead
from airflow_imap_provider.mailbox.place import Place, first_place
from airflow_imap_provider.mailbox.reader import Batch, Reader, Wish
from airflow_imap_provider.transport.session import Session, open_session
from tests.servers.dovecot import Dovecot, User

NOW = datetime.now(timezone.utc)


def message(subject: str, sender: str = "a@example.com", body: str = "Hello.") -> bytes:
    return f"From: {sender}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x>\r\n\r\n{body}\r\n".encode()


def wish(*conditions: Condition, **changes: object) -> Wish:
    plain = Wish(conn_id="c", folder="INBOX", conditions=Conditions(list(conditions)), server_search=False)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def session(dovecot: Dovecot, user: User) -> Iterator[Session]:
    opened = open_session(dovecot.settings(user))
    yield opened
    opened.close()


def read_all(session: Session, reader: Reader, place: Place | None = None) -> list[Batch]:
    status = session.select("INBOX", readonly=True)
    place = place or first_place("all", NOW)
    batches = []
    while True:
        batch = reader.read(session, status, replace(place, todo=()))
        batches.append(batch)
        place = batch.place
        if not batch.more:
            return batches


def subjects(batches: list[Batch]) -> list[str]:
    return [mail.subject for batch in batches for mail in batch.mails]


def test_a_backlog_comes_in_batches_without_gaps_or_repetitions(
    dovecot: Dovecot, user: User, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SEARCH_WINDOW", 7)
    monkeypatch.setattr(reading, "SCAN", 5)
    monkeypatch.setattr(reading, "FETCH_CHUNK", 3)
    everything = [f"mail {number}" for number in range(40)]
    dovecot.deliver_all(user, [message(subject) for subject in everything])
    dovecot.expunge(user, [2, 3, 4, 20, *range(25, 36)])
    left = [f"mail {uid - 1}" for uid in range(1, 41) if uid not in {2, 3, 4, 20, *range(25, 36)}]
    batches = read_all(session, Reader(wish(batch_size=4)))
    assert subjects(batches) == left
    assert max(len(batch.emails) for batch in batches) == 4
    told = [batch for batch in batches if batch.emails]
    for before, after in itertools.pairwise(told):
        assert after.span[0] == before.span[1] + 1, "events cover the folder without gaps"
    assert batches[-1].place.last_uid == 40


def test_nothing_new_is_nothing_although_servers_answer_with_the_last_mail(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    dovecot.deliver(user, message("one"))
    [batch] = read_all(session, Reader(wish()))
    [again] = read_all(session, Reader(wish()), batch.place)
    assert again.emails == ()
    assert again.place == batch.place


def test_one_new_mail_costs_the_same_in_a_large_folder(dovecot: Dovecot, user: User, session: Session) -> None:
    def cost() -> tuple[int, int]:
        stream = session.client._imap
        counted = {"commands": 0, "bytes": 0}
        original_tag, original_line, original_read = stream._new_tag, stream.readline, stream.read

        def new_tag() -> bytes:
            counted["commands"] += 1
            return original_tag()

        def readline() -> bytes:
            line = original_line()
            counted["bytes"] += len(line)
            return line

        def read(size: int) -> bytes:
            counted["bytes"] += size
            return original_read(size)

        stream._new_tag, stream.readline, stream.read = new_tag, readline, read
        try:
            status = session.select("INBOX", readonly=True)
            counted.update(commands=0, bytes=0)
            batch = Reader(wish()).read(session, status, place)
            assert len(batch.emails) == 1
        finally:
            stream._new_tag, stream.readline, stream.read = original_tag, original_line, original_read
        return counted["commands"], counted["bytes"]

    dovecot.deliver_all(user, [message(f"{number:05}") for number in range(10)])
    place = read_all(session, Reader(wish()))[-1].place
    dovecot.deliver(user, message("00010"))
    few = cost()
    dovecot.deliver_all(user, [message(f"{number:05}") for number in range(11, 1500)])
    place = read_all(session, Reader(wish()), place)[-1].place
    dovecot.deliver(user, message("01500"))
    many = cost()
    assert many[0] == few[0] <= 4
    assert many[1] < few[1] + 100


def test_the_conditions_decide_and_the_actions_follow_the_outcome(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    dovecot.deliver_all(user, [message("yes"), message("no"), message("yes too", "b@example.com")])
    both = wish(
        Subject.contains("yes"), From.equals("a@example.com"), on_match=(MarkRead(),), on_no_match=(Flag(when="none"),)
    )
    [batch] = read_all(session, Reader(both))
    assert [mail.subject for mail in batch.mails] == ["yes"]
    assert [(todo.uids.spans, todo.actions) for todo in batch.place.todo] == [(((1, 1),), (MarkRead(),))]


def test_bodies_are_fetched_only_where_a_condition_asks(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.deliver_all(user, [message("one", body="the magic word"), message("two", body="nothing")])
    batches = read_all(session, Reader(wish(Body.contains("magic"))))
    assert subjects(batches) == ["one"]
    assert "text" not in batches[0].emails[0]


def test_what_the_server_leaves_out_would_not_have_matched(
    dovecot: Dovecot, user: User, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ASK_SERVER_ABOVE", 3)
    old = NOW - timedelta(days=30)
    dovecot.deliver_all(user, [message(f"old {number}") for number in range(5)], received=old)
    dovecot.deliver_all(user, [message("new"), message("new 2", "b@example.org")])
    conditions = (Received.after(NOW - timedelta(days=2)), From.equals("b@example.org"))
    asked = read_all(session, Reader(wish(*conditions, server_search=True)))
    plain = read_all(session, Reader(wish(*conditions)))
    assert subjects(asked) == subjects(plain) == ["new 2"]
    assert sum(batch.seen for batch in asked) < sum(batch.seen for batch in plain)
    assert asked[-1].place.last_uid == plain[-1].place.last_uid == 7


def test_unread_mails_of_before_are_found_in_a_folder_of_read_ones(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    dovecot.deliver_all(user, [message(f"read {number}") for number in range(30)], flags=[r"\Seen"])
    dovecot.deliver(user, message("unread"))
    batches = read_all(session, Reader(wish()), first_place("unread", NOW))
    assert subjects(batches) == ["unread"]
    assert sum(batch.seen for batch in batches) == 1
    assert batches[-1].place.floor is None


@pytest.mark.parametrize("uidnext", [None, 11])
def test_what_the_server_told_at_opening_may_be_old_or_missing(
    dovecot: Dovecot, user: User, session: Session, uidnext: int | None
) -> None:
    """Courier tells no UIDNEXT, and a watcher may join days after the folder was opened."""
    dovecot.deliver_all(user, [message(f"mail {number}") for number in range(30)])
    status = replace(session.select("INBOX", readonly=True), uidnext=uidnext)
    reader, place, found = Reader(wish(batch_size=7)), first_place("unread", NOW), []
    for _ in range(8):
        batch = reader.read(session, status, replace(place, todo=()))
        place = batch.place
        found += [mail.subject for mail in batch.mails]
    assert found == [f"mail {number}" for number in range(30)]


def test_a_slow_server_gets_a_smaller_batch_and_not_an_endless_one(
    dovecot: Dovecot, user: User, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_SECONDS", 0.0)
    dovecot.deliver_all(user, [message(f"mail {number}") for number in range(4)])
    batches = read_all(session, Reader(wish()))
    assert [len(batch.mails) for batch in batches if batch.mails] == [1, 1, 1, 1]


def test_a_mail_that_cannot_be_judged_does_not_stop_the_folder(
    dovecot: Dovecot, user: User, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = deciding.payload

    def choosy(mail: Mail, **options: Any) -> dict[str, Any]:
        if mail.subject == "evil":
            raise ValueError(mail.subject)
        return dict(plain(mail, **options))

    monkeypatch.setattr(deciding, "payload", choosy)
    dovecot.deliver_all(user, [message("one"), message("evil"), message("two")])
    assert [email["subject"] for batch in read_all(session, Reader(wish())) for email in batch.emails] == ["one", "two"]
    assert "mail 2 cannot be judged" in caplog.text


# --- as a scripted server writes it ---------------------------------------------------------------------------------

STRUCTURE = '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)'


def fetched(uid: int, subject: str) -> bytes:
    header = f"Subject: {subject}\r\n\r\n".encode()
    return (
        (
            f'* {uid} FETCH (UID {uid} FLAGS () INTERNALDATE "01-Nov-2026 00:00:00 +0000" RFC822.SIZE 50 '
            f"BODYSTRUCTURE {STRUCTURE} BODY[HEADER.FIELDS (SUBJECT)] {{{len(header)}}}\r\n"
        ).encode()
        + header
        + b")"
    )
