"""Whole mails: their parts, numbered as a server numbers them, and what is done where mail is broken."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_imap_provider.mail.conditions import Body
from airflow_imap_provider.mail.fetching import fetch_items, mail_from_fetch
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.raw import FOLLOWED_LIMIT, RawMail, mail_from_raw, structured_by
from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.transport.session import open_session
from tests.mail.builders import answer, read_answer
from tests.mail.corpus.kinds import KINDS
from tests.mail.corpus.pieces import HEADER, attachment, mixed, part, single, text
from tests.servers.dovecot import Dovecot, User


def files(mail: Mail) -> list[tuple[str, str, str]]:
    return [(each.part, each.name, each.content_type) for each in mail.attachments]


def content(raw: bytes, number: int = 0) -> bytes:
    wanted = mail_from_raw(raw).attachments[number]
    return decode_transfer(RawMail.of(raw).part(wanted.part), wanted.encoding)


def test_a_whole_mail_is_read_with_text_and_attachments() -> None:
    raw = mixed(text("Grüße".encode("latin-1"), b"iso-8859-1"), attachment(b"filename*=utf-8''M%C3%A4rz.csv"))
    mail = mail_from_raw(raw, conn_id="c", folder="f", uid=3, uidvalidity=4)
    assert (mail.subject, mail.text, mail.size) == ("Invoice 4711", "Grüße", len(raw))
    assert [str(each) for each in mail.from_] == ["Billing <billing@example.com>"]
    assert mail.received == datetime(2026, 1, 31, 11, 29, 55, tzinfo=timezone.utc)
    assert files(mail) == [("2", "März.csv", "application/octet-stream")]
    assert mail.attachments[0].counted
    assert content(raw) == b"a;b\n1;2\n"
    assert (mail.conn_id, mail.folder, mail.uid, mail.uidvalidity) == ("c", "f", 3, 4)


def test_text_without_a_charset_is_read_by_the_code_page() -> None:
    raw = single(b"Content-Type: text/plain", "Цена".encode("koi8-r"))
    assert mail_from_raw(raw, code_page="koi8-r").text == "Цена"
    assert mail_from_raw(raw, code_page="windows-1251").text != "Цена"


def test_a_header_that_was_asked_for_is_kept() -> None:
    assert mail_from_raw(HEADER + b"X-A: 1\r\n\r\n", headers=["X-A"]).headers["x-a"] == ("1",)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((b'; boundary="corpus"', b""), [("2", "invoice.csv", "application/octet-stream")]),
        ((b'"corpus"', b'"other"'), [("2", "invoice.csv", "application/octet-stream")]),
        ((b"--corpus--\r\n", b""), [("2", "invoice.csv", "application/octet-stream")]),
        ((b"\r\n", b"\n"), [("2", "invoice.csv", "application/octet-stream")]),
        ((b"\r\n", b"\r"), [("2", "invoice.csv", "application/octet-stream")]),
        ((b"multipart/mixed", b"MULTIPART / Mixed (x)"), [("2", "invoice.csv", "application/octet-stream")]),
    ],
    ids=["undeclared", "another", "not closed", "line feeds", "carriage returns", "spelled oddly"],
)
def test_parts_are_found_in_a_broken_multipart(
    change: tuple[bytes, bytes], expected: list[tuple[str, str, str]]
) -> None:
    raw = mixed(text(), attachment()).replace(*change)
    assert files(mail_from_raw(raw)) == expected
    assert content(raw) == b"a;b\n1;2\n"


def test_parts_behind_the_closing_boundary_are_found() -> None:
    raw = mixed(text(), attachment()) + b"--corpus\r\n" + attachment(b"filename=second.csv") + b"\r\n--corpus--\r\n"
    assert [name for _, name, _ in files(mail_from_raw(raw))] == ["invoice.csv", "second.csv"]


def test_what_is_nested_too_deep_is_one_attachment_that_holds_it_all() -> None:
    deep = next(kind for kind in KINDS if kind.name == "nested 100 deep")
    mail = mail_from_raw(deep.raw)
    [found] = mail.attachments
    assert found.content_type == "multipart/mixed"
    assert b"YTtiCjE7Mgo=" in content(deep.raw)
    assert any("deeper than is looked at" in defect for defect in mail.defects)


def test_of_too_many_parts_the_rest_is_one() -> None:
    raw = mixed(*[attachment(b"filename=%d" % number) for number in range(FOLLOWED_LIMIT + 50)])
    mail = mail_from_raw(raw)
    assert len(mail.attachments) == FOLLOWED_LIMIT
    assert RawMail.of(raw).part(mail.attachments[-1].part).count(b"Content-Disposition") == 51


def test_an_attached_mail_has_its_parts_below_its_number() -> None:
    inner = mixed(text(b"inner"), attachment(), boundary=b"inner")
    raw = mixed(text(b"outer"), part(b"Content-Type: message/rfc822", inner))
    mail = mail_from_raw(raw)
    assert files(mail) == [("2", "", "message/rfc822"), ("2.2", "invoice.csv", "application/octet-stream")]
    assert mail.text == "outer"
    assert content(raw) == inner
    assert mail_from_raw(content(raw)).text == "inner"


def test_what_a_server_did_not_tell_is_added_and_what_it_told_stays() -> None:
    raw = mixed(text(b"Hello"), attachment())
    told = read_answer({**answer(b"Subject: as told\r\n\r\n"), b"BODYSTRUCTURE": None})
    assert not told.structured
    whole = structured_by(told, RawMail.of(raw), "", text=True)
    assert (whole.subject, whole.text, whole.flags, whole.size) == ("as told", "Hello", told.flags, told.size)
    assert files(whole) == [("2", "invoice.csv", "application/octet-stream")]
    assert whole.structured
    assert structured_by(told, RawMail.of(raw), "", text=False).text is None


def test_the_parts_have_the_numbers_that_a_server_gives_them(dovecot: Dovecot, user: User) -> None:
    """Of mails that are whole; where one is broken, each reads what it can."""
    whole = (
        *("an attached mail", "a digest", "an invitation", "a delivery report", "a detached signature", "PGP/MIME"),
        *("a picture within HTML", "nested 15 deep", "mails attached 15 deep", "a partial mail"),
        *("boundaries that begin alike", "an inner boundary that is a beginning"),
        *("an inline file", "a mail that is a calendar", "winmail.dat"),
    )
    chosen = [kind for kind in KINDS if kind.name in whole]
    assert len(chosen) == len(whole)
    dovecot.deliver_all(user, [kind.raw for kind in chosen])
    session = open_session(dovecot.settings(user))
    try:
        session.select("INBOX", readonly=True)
        for uid, kind in enumerate(chosen, 1):
            fetched = session.fetch([uid], fetch_items([]))[uid]
            told = mail_from_fetch(fetched, conn_id="", folder="", uid=0, uidvalidity=0, code_page="")
            own = mail_from_raw(kind.raw)
            assert files(told) == files(own), kind.name
            assert [each.part for each in told.text_parts] == [each.part for each in own.text_parts], kind.name
            assert told.protection == own.protection, kind.name
            found = RawMail.of(kind.raw)
            for each in own.attachments:
                [section] = (
                    value
                    for key, value in session.fetch([uid], [f"BODY.PEEK[{each.part}]"])[uid].items()
                    if key.startswith(b"BODY[")
                )
                assert section == found.part(each.part), (kind.name, each.part)
    finally:
        session.logout()


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        (b" \r\n\r\n\r\n", "Your invoice is ready."),
        (b"=C2=A0\r\n\t=\r\n\r\n", "Your invoice is ready."),
        (b"=E2=80=8B=EF=BB=BF=E2=80=8C=C2=AD=CD=8F\r\n", "Your invoice is ready."),
        (b"- . -\r\n", "- . -"),
        (b"Hello.\r\n", "Hello."),
        (b"\r\n" * 300, ""),
    ],
)
def test_the_html_is_read_where_the_plain_text_beside_it_has_nothing_to_read(plain: bytes, text: str) -> None:
    raw = (
        b"Subject: s\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + plain
        + b"\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Your <b>invoice</b> is ready.</p>\r\n--b--\r\n"
    )
    found = mail_from_raw(raw)
    assert (found.text or "").strip() == text
    assert Body.contains("invoice").holds(found) is ("invoice" in text)


def test_a_blank_text_stays_where_the_html_beside_it_is_blank_too() -> None:
    raw = (
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n\r\n\r\n--b\r\n"
        b"Content-Type: text/html\r\n\r\n<p>&nbsp;</p>\r\n--b--\r\n"
    )
    assert (mail_from_raw(raw).text or "").strip() == ""
