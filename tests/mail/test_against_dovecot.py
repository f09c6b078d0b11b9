"""A real server's BODYSTRUCTURE, header blocks, texts and searches, through the package's own session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_imap_provider.mail.conditions import (
    Attachment,
    Body,
    Cc,
    Conditions,
    From,
    Header,
    Received,
    ReplyTo,
    Subject,
    To,
)
from airflow_imap_provider.mail.fetching import fetch_items, mail_from_fetch, text_items, with_text
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.payload import payload
from airflow_imap_provider.mail.search import search_criteria
from airflow_imap_provider.transport.session import Session, open_session
from tests.mail.builders import RECEIVED
from tests.mail.strategies import (
    FLAGS,
    age_tests,
    date_tests,
    flag_tests,
    header_values,
    lists_of,
    number_tests,
    plausible_headers,
    text_tests,
    trees,
)
from tests.mail.test_payload import assert_is_a_payload
from tests.servers.dovecot import Dovecot, User

pytestmark = pytest.mark.dovecot

NO_NUL = (header_values | plausible_headers).map(lambda value: value.replace(b"\0", b""))
"""Dovecot refuses NUL in APPEND."""

BODIES = (
    b"\r\n\r\nYour invoice 4711,\r\nsee billing@example.com\r\n",
    b"\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Billing <b>Te</b>am, in&shy;voice &eacute;</p>\r\n",
    b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw6kgaW52b2ljZQ==\r\n",
    b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nroot\r\n--b\r\nContent-Disposition: attachment;"
    b' filename="a.csv"\r\n\r\nx\r\n--b--\r\n',
)
"""What follows the headers of the tests' mails: plain, HTML, encoded, with an attachment."""

HARD = (
    b"From: =?utf-8?Q?J=C3=B6rg?= <joerg@example.com>\r\n"
    b"To: undisclosed-recipients:;\r\n"
    b"Subject: =?utf-8?B?UmVjaG51bmcgZsO8ciBNw6Ry?=\r\n =?utf-8?B?eg==?=\r\n"
    b"Date: Sat, 31 Jan 2026 12:29:55 +0100\r\n"
    b"Message-ID: <hard@example.com>\r\n"
    b"X-Priority: 1\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="m"\r\n\r\n'
    b"--m\r\n"
    b'Content-Type: multipart/alternative; boundary="a"\r\n\r\n'
    b"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Ihre Rechnung =FCber =80 5\r\n"
    b"--a\r\nContent-Type: text/html\r\n\r\n<p>not read</p>\r\n"
    b"--a--\r\n"
    b"--m\r\n"
    b"Content-Type: text/csv;\r\n name*0*=utf-8''Rechnung%20;\r\n name*1*=M%C3%A4rz.csv\r\n"
    b"Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nYSxiCjEsMgo=\r\n"
    b"--m\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"
    b"Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
    b"--i\r\n\r\ninner text\r\n"
    b'--i\r\nContent-Type: application/pdf; name="=?utf-8?Q?caf=C3=A9.pdf?="\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
    b"--i--\r\n"
    b"--m--\r\n"
)


@pytest.fixture
def session(dovecot: Dovecot, user: User) -> Iterator[Session]:
    opened = open_session(dovecot.settings(user))
    try:
        yield opened
    finally:
        opened.logout()


def read_all(session: Session, headers: Sequence[str] = (), folder: str = "INBOX", *, text: bool = False) -> list[Mail]:
    status = session.select(folder, readonly=True)
    uids = session.search(["ALL"])
    answers = session.fetch(uids, fetch_items(headers)) if uids else {}
    mails = [
        mail_from_fetch(
            answers[uid],
            conn_id="dovecot",
            folder=folder,
            uid=uid,
            uidvalidity=status.uidvalidity,
            code_page="windows-1252",
            headers=headers,
        )
        for uid in uids
    ]
    if not text:
        return mails
    items = sorted({item for mail in mails for item in text_items(mail)})
    answers = session.fetch(uids, items)
    return [with_text(mail, answers[mail.uid], "") for mail in mails]


def test_a_hard_mail_is_read_whole(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.deliver(user, HARD, received=RECEIVED)
    (mail,) = read_all(session, ["X-Priority"])
    assert mail.subject == "Rechnung für März"
    assert [str(each) for each in mail.from_] == ["Jörg <joerg@example.com>"]
    assert mail.to == ()
    assert mail.received == RECEIVED
    assert mail.size == len(HARD)
    assert mail.headers["x-priority"] == ("1",)
    assert [(each.part, each.name, each.content_type) for each in mail.attachments] == [
        ("2", "Rechnung März.csv", "text/csv"),
        ("3", "", "message/rfc822"),
        ("3.2", "café.pdf", "application/pdf"),
    ]
    assert [(each.part, each.instead_of) for each in mail.text_parts] == [("1.1", ()), ("1.2", ("1.1",))]
    assert mail.defects == ()
    answer = session.fetch([mail.uid], text_items(mail))[mail.uid]
    assert with_text(mail, answer, "").text == "Ihre Rechnung über € 5"
    assert read_all(session)[0].flags == (), "looking marks nothing"
    assert_is_a_payload(payload(mail, headers=["x-priority"]))
    wanted = [Subject.contains("märz"), From.ends_with("@example.com"), Header("X-Priority").exists()]
    assert Conditions(wanted).triggers(mail)
    assert Body.contains("€ 5").holds(with_text(mail, answer, ""))


def test_the_part_numbers_are_those_of_the_server(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.deliver(user, HARD)
    (mail,) = read_all(session)
    items = [f"BODY.PEEK[{each.part}]" for each in mail.attachments]
    answer = session.fetch([mail.uid], items)[mail.uid]
    assert answer[b"BODY[2]"] == b"YSxiCjEsMgo="
    assert answer[b"BODY[3]"].startswith(b"Subject: inner")
    assert answer[b"BODY[3.2]"] == b"AAAA"


def test_a_mail_that_is_one_attachment_is_part_1(dovecot: Dovecot, user: User, session: Session) -> None:
    dovecot.deliver(
        user, b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
    )
    (mail,) = read_all(session)
    assert [(each.part, each.name) for each in mail.attachments] == [("1", "a.pdf")]
    assert session.fetch([mail.uid], ["BODY.PEEK[1]"])[mail.uid][b"BODY[1]"] == b"AAAA\r\n"


def test_a_server_can_miss_a_subject_which_is_why_it_is_not_asked_for_one(
    dovecot: Dovecot, user: User, session: Session
) -> None:
    dovecot.deliver(user, b"Subject: =?x-no-such-charset?Q?invoice?=\r\n\r\nx\r\n")
    (mail,) = read_all(session)
    wanted = Conditions([Subject.equals("invoice")])
    assert wanted.triggers(mail)
    assert session.search(["SUBJECT", "invoice"]) == []
    assert search_criteria(wanted, text=True) is None


FIELDS = (From, To, Cc, ReplyTo, Subject, Body, Header("X-Priority"))
"""What of a mail the conditions on text look at."""

HEADERS = (b"From", b"To", b"Cc", b"Reply-To", b"Subject", b"X-Priority")


@pytest.fixture(scope="module")
def folders(dovecot: Dovecot) -> Iterator[Session]:
    """One session for all examples, each of which has a folder of its own."""
    opened = open_session(dovecot.settings(dovecot.new_user()))
    try:
        yield opened
    finally:
        opened.logout()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    # Each example needs the server; shrinking takes hundreds.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(HEADERS), NO_NUL).map(b": ".join),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(BODIES),
    st.lists(
        lists_of(
            trees(
                st.one_of(
                    text_tests(fields=FIELDS),
                    date_tests(),
                    age_tests,
                    number_tests(),
                    flag_tests,
                    st.sampled_from((Header("X-Priority").exists(), Attachment.exists())),
                )
            )
        ),
        min_size=4,
        max_size=4,
    ),
    st.integers(-48, 48),
    st.lists(st.sampled_from(FLAGS), max_size=3),
)
def test_the_servers_search_leaves_out_nothing_that_the_decision_takes(
    folders: Session, headers: list[bytes], body: bytes, lists: list[Conditions], hours: int, flags: list[str]
) -> None:
    session, folder = folders, f"example {next(_numbers)}"
    session.create(folder)
    # A mail for each header, and one with all.
    blocks = [header + body for header in headers] + [b"\r\n".join(headers) + body]
    shown = [flag for flag in flags if flag != "a.b+c"]
    later = RECEIVED + timedelta(hours=hours)
    for marks, received in (((), later), (shown, RECEIVED)):
        session.client.multiappend(folder, [{"msg": block, "flags": marks, "date": received} for block in blocks])
    mails = read_all(session, ["X-Priority"], folder, text=True)
    senders = [
        Conditions([field.equals(address.address)])
        for mail in mails
        for field, addresses in ((From, mail.from_), (To, mail.to), (Cc, mail.cc), (ReplyTo, mail.reply_to))
        for address in addresses
        if "@" in address.address and "�" not in address.address
    ]
    for conditions in dict.fromkeys([*lists, *senders, Conditions([Received.after(RECEIVED)])]):
        asked = search_criteria(conditions, text=True, now=RECEIVED)
        taken = {mail.uid for mail in mails if conditions.triggers(mail, RECEIVED)}
        if asked is not None:
            assert taken <= set(session.search(asked)), (conditions, asked, blocks)


_numbers = count(1)
