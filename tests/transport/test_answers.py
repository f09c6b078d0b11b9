from __future__ import annotations

import logging

import pytest

from airflow_imap_provider.transport.answers import parse_esearch, parse_fetch, parse_folders, parse_search


def test_responses_are_filed_by_uid() -> None:
    data = [b"1 (UID 10 FLAGS (\\Seen))", b"2 (FLAGS () UID 11)"]
    assert parse_fetch(data, [10, 11]) == {
        10: {b"SEQ": 1, b"FLAGS": (b"\\Seen",)},
        11: {b"SEQ": 2, b"FLAGS": ()},
    }


def test_literals_stay_with_their_mail() -> None:
    data = [(b"1 (UID 10 BODY[1] {2}", b"ab"), (b" BODY[2] {3}", b"cde"), b")", (b"2 (UID 11 BODY[1] {1}", b"f"), b")"]
    assert parse_fetch(data, [10, 11]) == {
        10: {b"SEQ": 1, b"BODY[1]": b"ab", b"BODY[2]": b"cde"},
        11: {b"SEQ": 2, b"BODY[1]": b"f"},
    }


def test_news_about_another_mail_is_not_filed_under_the_uid_that_equals_its_sequence_number() -> None:
    data = [b"7 (FLAGS (\\Deleted))", b"1 (UID 7 FLAGS ())"]
    assert parse_fetch(data, [7]) == {7: {b"SEQ": 1, b"FLAGS": ()}}


def test_two_mails_keep_apart_when_sequence_numbers_shift_in_the_middle() -> None:
    data = [b"3 (UID 30 RFC822.SIZE 1)", b"3 (UID 31 RFC822.SIZE 2)"]
    assert parse_fetch(data, [30, 31]) == {30: {b"SEQ": 3, b"RFC822.SIZE": 1}, 31: {b"SEQ": 3, b"RFC822.SIZE": 2}}


def test_two_responses_for_one_mail_are_put_together() -> None:
    data = [b"3 (UID 30 RFC822.SIZE 1)", b"3 (UID 30 FLAGS ())"]
    assert parse_fetch(data, [30]) == {30: {b"SEQ": 3, b"RFC822.SIZE": 1, b"FLAGS": ()}}


def test_dates_are_aware() -> None:
    data = [b'1 (UID 1 INTERNALDATE "23-Nov-2026 08:00:00 +0200")']
    assert parse_fetch(data, [1])[1][b"INTERNALDATE"].isoformat() == "2026-11-23T08:00:00+02:00"


def test_no_responses_are_no_mails() -> None:
    assert parse_fetch([None], [1]) == {}


def test_search_answers_of_several_lines_are_joined_and_modseq_is_no_uid() -> None:
    assert parse_search([b"1 2 3", b"", None, b"7 9 (MODSEQ 917)"]) == [1, 2, 3, 7, 9]


def test_the_uids_of_an_extended_search_are_read_and_bounded() -> None:
    lines = [b'(TAG "A1") UID ALL 2,10:12,7:5 MODSEQ 917', b'(TAG "ALL 9") UID', None, b"UID COUNT 3 MIN 4"]
    assert parse_esearch(lines) == [2, 10, 11, 12, 5, 6, 7]
    with pytest.raises(ValueError, match="no UIDs"):
        parse_esearch([b'(TAG "A1") ALL 1:3'])
    with pytest.raises(ValueError, match="too many"):
        parse_esearch([b"UID ALL 1:4294967295"])


def test_folders_have_plain_unicode_names() -> None:
    data = [
        b'(\\HasNoChildren) "/" INBOX',
        b'(\\Sent) "." "Entw&APw-rfe"',
        b'() NIL "2026"',
        (b'() "/" {5}', b'a "b"'),
        b"",
    ]
    assert parse_folders(data) == [
        ("INBOX", "/", ("\\HasNoChildren",)),
        ("Entwürfe", ".", ("\\Sent",)),
        ("2026", "", ()),
        ('a "b"', "/", ()),
    ]


def test_a_name_that_is_not_modified_utf7_is_shown_as_it_is() -> None:
    assert parse_folders(['() "/" "Büro"'.encode(), b'() "/" "R&D&!"']) == [("Büro", "/", ()), ("R&D&!", "/", ())]


@pytest.mark.parametrize(
    ("response", "name", "delimiter"),
    [
        (b'() "/" 007', "007", "/"),
        (b'() "/" NIL', "NIL", "/"),
        (b'() "/" "NIL"', "NIL", "/"),
        (b'() "/" a[b', "a[b", "/"),
        (b'() "/" [Gmail]', "[Gmail]", "/"),
        (b'() "/" Sent Items', "Sent Items", "/"),
        (b'() "/" "a \\"b\\" \\\\c"', 'a "b" \\c', "/"),
        (b'() "\\\\" "a\\\\b"', "a\\b", "\\"),
        (b'() "/" foo ("CHILDINFO" ("SUBSCRIBED"))', "foo", "/"),
        (b'() "/" "foo bar" ("CHILDINFO" ("SUBSCRIBED"))', "foo bar", "/"),
        ((b"() nil {6}", b'a"\\b\xff!'), 'a"\\b\N{REPLACEMENT CHARACTER}!', ""),
    ],
)
def test_odd_names_of_folders_are_read_as_they_are(
    response: bytes | tuple[bytes, bytes], name: str, delimiter: str
) -> None:
    data = [response, b""] if isinstance(response, tuple) else [response]
    assert parse_folders(data) == [(name, delimiter, ())]


@pytest.mark.parametrize("broken", [b'() "/" "x', b"() / x", b"nonsense", b'(() "/" x'])
def test_a_folder_that_cannot_be_read_does_not_hide_the_others(broken: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse_folders([b'() "/" a', broken, b'() "/" b']) == [("a", "/", ()), ("b", "/", ())]
    assert "left out" in caplog.text
