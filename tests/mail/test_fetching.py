"""From servers' answers to mails: hard mails, missing fields, random bytes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.fetching import (
    DEFECTS_LIMIT,
    EPOCH,
    TEXT_LIMIT,
    VALUE_LIMIT,
    VALUES_LIMIT,
    fetch_items,
    text_items,
    with_text,
)
from airflow_imap_provider.mail.header_block import HEADER_LIMIT
from airflow_imap_provider.mail.message import Address
from airflow_imap_provider.mail.payload import payload
from tests.mail.builders import PLAIN_TEXT, answer, mail, read, read_answer
from tests.mail.strategies import FRAGMENTS
from tests.mail.test_payload import assert_is_a_payload

HTML = b'("text" "html" ("charset" "iso-8859-1") NIL NIL "quoted-printable" 900 30 NIL NIL NIL NIL)'


def test_what_is_fetched_sets_no_flag_and_names_each_header_once() -> None:
    items = fetch_items(["X-Priority", "subject"])
    assert items[:5] == ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODYSTRUCTURE"]
    fields = "CC CONTENT-DISPOSITION CONTENT-TRANSFER-ENCODING CONTENT-TYPE DATE FROM MESSAGE-ID REPLY-TO SUBJECT TO"
    assert items[5] == f"BODY.PEEK[HEADER.FIELDS ({fields} X-PRIORITY)]"


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nA LOGOUT", "X)", "X]", "é", "X" * 77, '"', "X*"])
def test_a_header_name_that_could_change_the_command_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="no name of a mail header"):
        fetch_items([name])


def test_an_ordinary_mail() -> None:
    found = read(
        b"From: =?utf-8?Q?J=C3=B6rg?= <joerg@example.com>\r\n"
        b"To: a@example.org, B <b@example.org>\r\n"
        b"Cc: c@example.org\r\n"
        b"Reply-To: answers@example.com\r\n"
        b"Subject: Your\r\n invoice\r\n"
        b"Date: Sat, 31 Jan 2026 12:29:55 +0100\r\n"
        b"Message-ID:\r\n <1@example.com>\r\n"
        b"X-Priority: 1\r\n"
        b"X-Other: not asked for\r\n\r\n",
        headers=["X-Priority"],
    )
    assert found.from_ == (Address("Jörg", "joerg@example.com"),)
    assert [str(each) for each in found.to] == ["a@example.org", "B <b@example.org>"]
    assert found.cc == (Address("", "c@example.org"),)
    assert found.reply_to == (Address("", "answers@example.com"),)
    assert found.subject == "Your invoice"
    assert found.message_id == "<1@example.com>"
    assert found.date == datetime(2026, 1, 31, 12, 29, 55, tzinfo=timezone(timedelta(hours=1)))
    assert found.received == datetime(2026, 1, 31, 11, 30, tzinfo=timezone.utc)
    assert found.received.utcoffset() == timedelta(0)
    assert (found.size, found.flags) == (4321, (r"\Seen",))
    assert found.headers["x-priority"] == ("1",)
    assert "x-other" not in found.headers
    assert found.text is None
    assert found.defects == ()


def test_an_empty_answer_gives_a_mail_with_defects() -> None:
    found = read_answer({b"SEQ": 1, b"UNREADABLE": True})
    assert (found.uid, found.subject, found.from_, found.size, found.flags) == (7, "", (), 0, ())
    assert found.received == EPOCH
    assert found.defects == (
        "the server gives no header",
        "the server tells no body structure",
        "received: neither the server nor the Date header tells a date",
    )


def test_without_internaldate_the_date_header_tells_when_the_mail_was_received() -> None:
    found = read(b"Date: Sat, 31 Jan 2026 12:29:55 +0100\r\n\r\n", date=b"NIL")
    assert found.received == datetime(2026, 1, 31, 11, 29, 55, tzinfo=timezone.utc)
    assert found.defects == ("received: the server tells no date, so it is taken from the Date header",)


def test_a_naive_internaldate_is_in_utc() -> None:
    found = read_answer({**answer(), b"INTERNALDATE": datetime(2026, 1, 31, 12, 0)})  # noqa: DTZ001
    assert found.received == datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def test_an_internaldate_beyond_time_is_told_as_a_defect() -> None:
    far = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    assert read_answer({**answer(), b"INTERNALDATE": far}).defects[0] == "received: the server's date is out of range"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Sat, 31 Jan 2026 12:00:00 +0100 (CET)", datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1)))),
        (b"31 Jan 26 12:00 GMT", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)),
        (b"Sat, 31 Jan 2026 12:00:00 -0000", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)),
        (b"Sat, 31 Jan 2026 12:00:00", datetime(2026, 1, 31, 12, tzinfo=timezone.utc)),
        (b"yesterday", None),
        (b"", None),
        (b"Sat, 31 Feb 2026 12:00:00 +0100", None),
        (b"Sat, 31 Jan 2026 12:00:00 +9900", None),
        (b"Sat, 31 Jan " + b"9" * 5000 + b" 12:00:00 +0100", None),
        (b"Fri, 31 Dec 9999 23:59:59 -1200", None),
        (b"\xff\xfe", None),
    ],
)
def test_dates_of_senders(value: bytes, expected: datetime | None) -> None:
    found = read(b"Date: " + value + b"\r\n\r\n")
    assert found.date == expected
    assert found.defects == (() if expected else ("date: not a date",))


def test_the_header_block_is_found_however_the_server_spells_it() -> None:
    response = answer(b"Subject: x\r\n\r\n")
    block = response.pop(b"BODY[HEADER.FIELDS (FROM TO SUBJECT)]")
    assert read_answer({**response, b'BODY[HEADER.FIELDS ("Subject" "From")]': block}).subject == "x"


@pytest.mark.parametrize(
    ("block", "subject"),
    [
        pytest.param(b"Subject: x\nFrom: a@b\n\n", "x", id="bare line feeds"),
        pytest.param(b"From a@b Sat Jan 31\r\nSubject: x\r\n", "x", id="mbox line"),
        pytest.param(b"garbage\r\nSubject: x\r\n\r\n", "x", id="a line that is no field"),
        pytest.param(b"Subject : x\r\n\r\n", "x", id="blank before the colon"),
        pytest.param(b"Subject:x", "x", id="no end"),
        pytest.param(b"SUBJECT: x\r\nsubject: y\r\n\r\n", "x", id="twice"),
        pytest.param(b" folded: first\r\nSubject: x\r\n\r\n", "x", id="begins with a folded line"),
        pytest.param(b"Subject: a\rFrom: b\r\n\r\n", "a From: b", id="bare carriage return"),
        pytest.param(b"Subject: a\x00b\r\n\r\n", "a\N{REPLACEMENT CHARACTER}b", id="NUL"),
        pytest.param(b"Subject:\r\n\r\n", "", id="empty"),
        pytest.param(b"Subject: \xed\xa0\x80\r\n\r\n", "\N{REPLACEMENT CHARACTER}" * 3, id="surrogate in UTF-8"),
    ],
)
def test_a_broken_header_block_is_read_as_far_as_it_goes(block: bytes, subject: str) -> None:
    assert read(block, code_page="").subject == subject


def test_two_from_headers_are_both_read_and_told_as_a_defect() -> None:
    found = read(b"From: a@b\r\nFrom: c@d\r\n\r\n")
    assert [each.address for each in found.from_] == ["a@b", "c@d"]
    assert found.defects == ("from: the header is there more than once",)


def test_headers_are_bounded() -> None:
    found = read(b"Subject: " + b"x" * HEADER_LIMIT + b"\r\nTo: a@b\r\n\r\n")
    assert len(found.subject) == VALUE_LIMIT
    assert found.to == ()
    assert found.defects == (f"the header is longer than {HEADER_LIMIT} bytes: the rest is not looked at",)
    many = read(b"X-Many: y\r\n" * 1000 + b"\r\n", headers=["x-many"])
    assert many.headers["x-many"] == ("y",) * VALUES_LIMIT


def test_defects_are_told_once_each_and_are_bounded() -> None:
    found = read(b"".join(b"Subject: =?x%d?Q?=E9?=\r\n" % number for number in range(40)), code_page="")
    assert len(found.defects) == DEFECTS_LIMIT
    assert found.defects[-1].startswith("and ")
    assert len(set(found.defects)) == DEFECTS_LIMIT


@pytest.mark.parametrize("name", [b"From", b"Subject", b"To"])
@pytest.mark.parametrize(
    "piece", [b'"', b"<", b"(\\", b"=?a?B?x?=", b"a@b,", b",", b"\xff", b"=?a?Q?=E9?= ", b"\n", b"a\n"]
)
@pytest.mark.timeout(15)  # under half a second on an idle machine; what is quadratic takes minutes
def test_no_header_keeps_the_reader_busy(name: bytes, piece: bytes) -> None:
    read(name + b": " + piece * (HEADER_LIMIT // len(piece)))


def test_text_is_fetched_in_part_and_sets_no_flag() -> None:
    found = read(structure=b"(" + PLAIN_TEXT + PLAIN_TEXT + b' "mixed" NIL NIL NIL)')
    assert text_items(found) == [f"BODY.PEEK[1]<0.{TEXT_LIMIT}>", f"BODY.PEEK[2]<0.{TEXT_LIMIT}>"]
    response = answer(parts={"1": b"one", "2": "zwö".encode()})
    assert with_text(found, response, "").text == "one\nzwö"


def test_html_is_made_text_in_its_charset() -> None:
    found = with_text(read(structure=HTML), answer(parts={"1": b"<p>caf=E9</p>=\r\n<p>x"}), "")
    assert found.text == "café\nx"


def test_text_in_base64() -> None:
    structure = PLAIN_TEXT.replace(b"7bit", b"BASE64")
    assert with_text(read(structure=structure), answer(parts={"1": b"w6nD\r\nqQ="}), "").text == "éé"


def test_text_that_the_server_does_not_give_is_empty_and_told_as_a_defect() -> None:
    found = with_text(read(), {}, "")
    assert found.text == ""
    assert found.defects == ("part 1: the server gives no text",)


def test_a_mail_without_text_has_empty_text_once_it_was_asked_for() -> None:
    found = read(structure=b'("image" "png" NIL NIL NIL "base64" 10)')
    assert text_items(found) == []
    assert with_text(found, {}, "").text == ""


def test_long_text_is_cut_without_breaking_its_last_character() -> None:
    body = ("é" * TEXT_LIMIT).encode()[: TEXT_LIMIT - 1] + b"\xc3"
    found = with_text(read(), answer(parts={"1": b"x" + body[:-1]}), "windows-1252")
    assert found.text == "x" + "é" * (TEXT_LIMIT // 2 - 1)
    assert found.defects == (f"part 1: only the first {TEXT_LIMIT} octets of the text are looked at",)


def test_a_body_of_digits_which_the_parser_takes_for_a_number_is_text() -> None:
    assert with_text(read(), {b"BODY[1]<0>": 4711}, "").text == "4711"


def test_the_key_tells_mails_apart_and_is_a_run_id() -> None:
    import re

    same = mail(folder="INBOX", uid=7)
    assert mail(folder="inbox", uid=7).key.endswith(same.key[-20:]), "INBOX has no case"
    keys = {
        mail(folder=folder, conn_id=conn_id, uid=uid, uidvalidity=uidvalidity).key
        for folder in ("INBOX", "Archive", "archive", "日本", "本日", "a/b", "a.b", "x" * 300, "x" * 301, "..")
        for conn_id in ("a", "b" * 250)
        for uid in (1, 4294967295)
        for uidvalidity in (1, 4294967295)
    }
    assert len(keys) == 10 * 2 * 2 * 2
    assert max(map(len, keys)) == 93
    for key in keys:
        assert re.fullmatch(r"[A-Za-z0-9_.~:+-]+", key)
        assert ".." not in key


def test_the_key_does_not_change_between_releases() -> None:
    assert mail().key == "mail.imap4_default.INBOX.ce1f2fcc2f505d8c.1.7"


headers = st.lists(
    st.tuples(
        st.sampled_from((b"From", b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"Reply-To", b"X-Priority", b"")),
        st.sampled_from((b":", b": ", b" :", b"")),
        st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=10), max_size=6).map(b"".join),
        st.sampled_from((b"\r\n", b"\n", b"", b"\r")),
    ).map(b"".join),
    max_size=8,
).map(b"".join)

odd_values = st.none() | st.integers() | st.binary(max_size=30) | st.lists(st.none() | st.binary(max_size=5)).map(tuple)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    headers | st.binary(max_size=300),
    st.dictionaries(
        st.sampled_from((b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"BODYSTRUCTURE", b"BODY[1]<0>")), odd_values
    ),
    st.sampled_from(("", "utf-8", "windows-1252", "gb18030", "no such charset")),
)
def test_whatever_the_answer_holds_a_mail_and_its_payload_come_of_it(
    block: bytes, fields: dict[bytes, Any], code_page: str
) -> None:
    response = {**answer(), b"BODY[HEADER.FIELDS (X)]": block, **fields}
    found = with_text(read_answer(response, code_page=code_page, headers=["X-Priority"]), response, code_page)
    assert found.received.utcoffset() == timedelta(0)
    for style in ("full", "minimal"):
        assert_is_a_payload(payload(found, style=style, headers=["X-Priority", "Subject"]))


HARD = (
    b'From: =?utf-8?B?SsO2cmcgRG9l?= <joerg@example.com>\r\nTo: "Doe, John" <j@x.example>, k@y.example\r\n'
    b"Subject: =?utf-8?Q?caf=C3=A9?=\r\n =?iso-8859-1?Q?_=E9t=E9?=\r\nDate: Sat, 31 Jan 2026 12:29:55 +0100\r\n"
    b"Message-ID: <1@example.com>\r\n\r\n"
)


@given(st.lists(st.tuples(st.integers(0, len(HARD) - 1), st.binary(max_size=3)), max_size=8))
def test_mutations_of_a_mail_are_read(mutations: list[tuple[int, bytes]]) -> None:
    block = HARD
    for position, replacement in mutations:
        block = block[:position] + replacement + block[position + 1 :]
    assert_is_a_payload(payload(read(block)))


@pytest.mark.timeout(5)
def test_long_runs_of_blanks_in_encoded_words_take_no_quadratic_time() -> None:
    words = b"=?utf-8?Q?" + b"_" * 60 + b"?=\r\n "
    long = b"=?utf-8?Q?=C3=A9?= " + words * (60 * 1024 // len(words)) + b"=?utf-8?Q?x?="
    name = b"=?utf-8?Q?=C3=A9?=" + words.replace(b"\r\n", b"") * (128 * 1024 // len(words)) + b"=?utf-8?Q?x?="
    structure = b'("application" "pdf" ("name" "%s") NIL NIL "base64" 10 NIL NIL NIL NIL)' % name
    mail = read(b"Subject: " + long + b"\r\nFrom: " + long + b" <a@example.com>\r\n\r\n", structure=structure)
    assert mail.subject.startswith("é")
    assert mail.from_[0].address == "a@example.com"
    assert mail.attachments[0].name.startswith("é")
