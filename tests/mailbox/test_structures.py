"""What is fetched of a mail: no body that nobody needs, and the whole mail where a server cannot tell its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_imap_provider.mail.conditions import Attachment, Body, Condition, Conditions, Subject
from airflow_imap_provider.mailbox.place import first_place
from airflow_imap_provider.mailbox.reader import Batch, Reader, Wish
from airflow_imap_provider.transport.session import Session, open_session
from tests.mail.corpus.kinds import KINDS
from tests.mail.corpus.pieces import attachment, mixed, text
from tests.servers.dovecot import Dovecot, User
from tests.servers.scripted import Peer, ScriptedServer
from tests.transport.conftest import settings_for

MAIL = mixed(text(b"Hello"), attachment())
NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
HEADER = b"Subject: Invoice 4711\r\nContent-Type: multipart/mixed; boundary=corpus\r\n\r\n"


def wish(*conditions: Condition) -> Wish:
    return Wish(conn_id="c", folder="INBOX", conditions=Conditions(conditions))


def fetched(session: Session, reader: Reader, uids: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str]:
    """The mails, and what was asked for."""
    asked: list[str] = []
    plain = session.fetch

    def noted(uids: Sequence[int], items: Sequence[str]) -> Any:
        asked.extend(items)
        return plain(uids, items)

    monkeypatch.setattr(session, "fetch", noted)
    return reader.mails(session, session.select("INBOX", readonly=True), uids), " ".join(asked)


LONE = {
    "pdf": b"Content-Type: application/pdf; name=scan.pdf\r\n\r\n%PDF",
    "picture": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: image/jpeg\r\n\r\nx\r\n--b--\r\n",
    "calendar": b"Content-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
    "nothing": b"\r\n",
}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_mail_without_a_text_has_an_empty_one_if_the_text_is_wanted(
    dovecot: Dovecot, user: User, wanted: bool
) -> None:
    dovecot.deliver_all(user, [b"Subject: x\r\nMIME-Version: 1.0\r\n" + body for body in LONE.values()])
    session = open_session(dovecot.settings(user))
    try:
        reader = Reader(replace(wish(Body.not_contains("paid")), text=wanted))
        batch = reader.read(session, session.select("INBOX", readonly=True), first_place("all", NOW))
    finally:
        session.logout()
    assert [email.get("text") for email in batch.emails] == [("" if wanted else None)] * len(LONE)


@pytest.mark.parametrize(
    ("condition", "bodies"),
    [
        (Subject.contains("invoice"), []),
        (Attachment.name.glob("*.csv") & Attachment.size.larger_than("1 MB"), []),
        (Body.contains("hello"), ["BODY.PEEK[1]<0."]),
    ],
    ids=repr,
)
def test_no_body_is_fetched_that_nobody_needs(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch, condition: Condition, bodies: list[str]
) -> None:
    dovecot.deliver(user, mixed(text(b"Hello"), attachment(content=b"x" * 2_000_000)))
    session = open_session(dovecot.settings(user))
    try:
        [mail], asked = fetched(session, Reader(wish(condition)), [1], monkeypatch)
    finally:
        session.logout()
    assert [each.name for each in mail.attachments] == ["invoice.csv"]
    assert asked.count("BODY.PEEK[") == 1 + len(bodies), "the header fields, and these"
    assert all(body in asked for body in bodies)
    assert condition.holds(mail) is True


def test_a_structure_that_hides_the_content_is_not_believed(
    dovecot: Dovecot, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = next(kind for kind in KINDS if kind.name == "a boundary that is missing")
    dovecot.deliver(user, hidden.raw)
    session = open_session(dovecot.settings(user))
    try:
        [mail], asked = fetched(session, Reader(wish(Body.contains("file"))), [1], monkeypatch)
    finally:
        session.logout()
    assert [(each.name, each.counted) for each in mail.attachments] == [("invoice.csv", True)]
    assert mail.text == "See the file."
    assert "BODY.PEEK[]<0." in asked
    assert "the attachments are told from the whole mail, for the server does not" in mail.defects


def literal(data: bytes | None) -> bytes:
    return b"NIL" if data is None else b"{%d}\r\n%b" % (len(data), data)


class Structureless:
    """A server that cannot tell the structure of its one mail, in one of the ways that are known."""

    def __init__(self, structure: str, *, whole: bool = True, given: bytes | None = MAIL, text: bytes = b"") -> None:
        self.structure = structure
        self.whole = whole
        self.given, self.text = given, text

    def __call__(self, peer: Peer) -> None:
        peer.serve_inbox()
        while True:
            line = peer.line()
            peer.tag, _, command = line.partition(" ")
            if command.startswith("UID FETCH"):
                self.fetch(peer, command)
            elif command.startswith("UID SEARCH"):
                peer.ok("* SEARCH 1")
            elif command.startswith("NOOP"):
                peer.ok()
            elif command.startswith("LOGOUT"):
                peer.send("* BYE")
                peer.ok()
                return
            else:
                raise AssertionError(command)

    def fetch(self, peer: Peer, command: str) -> None:
        if "BODY.PEEK[]" in command:
            if self.whole:
                peer.ok(b"* 1 FETCH (UID 1 BODY[]<0> " + literal(self.given) + b")")
            else:
                peer.no("it cannot be read")
        elif "BODY.PEEK[1]" in command:
            peer.ok(b"* 1 FETCH (UID 1 BODY[1]<0> " + literal(self.text) + b")")
        elif "BODYSTRUCTURE" in command and self.structure == "NO":
            peer.no("Unable to parse the message")
        else:
            told = f"BODYSTRUCTURE {self.structure} " if "BODYSTRUCTURE" in command and self.structure else ""
            head = f'FLAGS () INTERNALDATE "01-Nov-2026 00:00:00 +0000" RFC822.SIZE {len(MAIL)} {told}'
            fields = b"BODY[HEADER.FIELDS (SUBJECT)] {%d}\r\n%b)" % (len(HEADER), HEADER)
            peer.ok(b"* 1 FETCH (UID 1 " + head.encode() + fields)


SINGLE = '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)'
FILE = '("APPLICATION" "OCTET-STREAM" NIL NIL NIL "BASE64" 14 NIL ("ATTACHMENT" ("FILENAME" "invoice.csv")) NIL NIL)'
MIXED = f'({SINGLE}{FILE} "MIXED" ("BOUNDARY" "corpus") NIL NIL)'


@pytest.mark.parametrize("structure", ["", "NIL", "()", "(NIL NIL)", "NO", SINGLE])
def test_without_a_structure_the_whole_mail_tells_the_attachments(structure: str) -> None:
    with ScriptedServer(Structureless(structure)) as server:
        session = open_session(settings_for(server))
        [mail] = Reader(wish(Body.contains("hello"))).mails(session, session.select("INBOX", readonly=True), [1])
        session.close()
    assert [(each.name, each.part, each.counted) for each in mail.attachments] == [("invoice.csv", "2", True)]
    assert (mail.subject, mail.text) == ("Invoice 4711", "Hello")
    assert mail.structured


def test_a_mail_that_cannot_be_had_at_all_keeps_what_is_known_of_it() -> None:
    with ScriptedServer(Structureless("NIL", whole=False)) as server:
        session = open_session(settings_for(server))
        [mail] = Reader(wish()).mails(session, session.select("INBOX", readonly=True), [1])
        session.close()
    assert (mail.subject, mail.attachments, mail.structured) == ("Invoice 4711", (), False)
    assert "the server tells no body structure" in mail.defects


def read(server: ScriptedServer, *conditions: Condition) -> Batch:
    session = open_session(settings_for(server))
    try:
        status = session.select("INBOX", readonly=True)
        start = first_place("all", datetime.now(timezone.utc))
        return Reader(replace(wish(*conditions), server_search=False)).read(session, status, start)
    finally:
        session.close()


@pytest.mark.parametrize("given", [None, b""], ids=["NIL", "empty"])
@pytest.mark.parametrize("structure", ["NIL", MIXED], ids=["not told", "told"])
def test_a_mail_of_which_nothing_is_given_is_said_to_be_incomplete(given: bytes | None, structure: str) -> None:
    with ScriptedServer(Structureless(structure, given=given)) as server:
        batch = read(server, Body.contains("hello"))
    assert batch.mails == ()
    assert batch.incomplete == ("UID 1, without its content: the server answers OK and gives nothing",)


def test_a_text_that_is_told_and_not_given_is_found_in_the_whole_mail() -> None:
    with ScriptedServer(Structureless(MIXED)) as server:
        batch = read(server, Body.contains("hello"))
    assert [mail.text for mail in batch.mails] == ["Hello"]
    assert batch.incomplete == ()
