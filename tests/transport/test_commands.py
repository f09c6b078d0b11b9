from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.transport.commands import (
    Literal,
    check_folder,
    flag_list,
    item_list,
    quoted,
    search_pieces,
    uid_sets,
)

UIDS = st.lists(st.integers(1, 2**32 - 1) | st.integers(1, 300))


def written(criteria: list[object]) -> str:
    pieces = search_pieces(criteria)
    assert all(isinstance(piece, str) for piece in pieces)
    return "".join(piece for piece in pieces if isinstance(piece, str))


def test_neighbouring_uids_become_ranges() -> None:
    assert list(uid_sets([9, 1, 2, 3, 3, 7], 100)) == [("1:3,7,9", [1, 2, 3, 7, 9])]


def test_no_uids_make_no_set() -> None:
    assert list(uid_sets([], 100)) == []


@given(UIDS, st.integers(25, 200))
def test_sets_hold_exactly_the_uids_and_keep_to_the_room(uids: list[int], room: int) -> None:
    sets = list(uid_sets(uids, room))
    assert [uid for _, members in sets for uid in members] == sorted(set(uids))
    assert all(len(text) <= room for text, _ in sets)
    for text, members in sets:
        ranges = [item.partition(":") for item in text.split(",")]
        assert [uid for first, _, last in ranges for uid in range(int(first), int(last or first) + 1)] == members


@pytest.mark.parametrize("uid", [0, -1, 2**32])
def test_a_number_that_is_no_uid_is_refused(uid: int) -> None:
    with pytest.raises(SettingsError, match="no UID"):
        list(uid_sets([uid], 100))


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (["ALL"], "ALL"),
        (["UNSEEN", "SINCE", date(2026, 3, 5)], "UNSEEN SINCE 05-Mar-2026"),
        (["BEFORE", datetime(2026, 12, 31, 23, tzinfo=timezone.utc)], "BEFORE 31-Dec-2026"),
        (["UID", "5:*"], "UID 5:*"),
        (["1:4,7"], "1:4,7"),
        (["NOT", "2"], "NOT 2"),
        (["LARGER", 500], "LARGER 500"),
        (["KEYWORD", "$Done"], "KEYWORD $Done"),
        (["SUBJECT", "two words"], 'SUBJECT "two words"'),
        (["OR", ["FROM", "a", "UNSEEN"], ["NOT", ["SEEN"]]], 'OR (FROM "a" UNSEEN) (NOT (SEEN))'),
        ([b"SUBJECT", b"bytes"], 'SUBJECT "bytes"'),
    ],
)
def test_criteria_are_written_as_the_protocol_wants_them(criteria: list[object], expected: str) -> None:
    assert written(criteria) == expected


@pytest.mark.parametrize("value", ["{5}", "a)", "(ALL", "5:*", "UNSEEN", "FROM", "", '"', "\\", "a]b", "*", "%"])
def test_a_value_can_only_be_a_value_whatever_it_looks_like(value: str) -> None:
    assert written(["SUBJECT", value, "UNSEEN"]) == f"SUBJECT {quoted(value)} UNSEEN"


def test_both_the_name_and_the_value_of_a_header_are_values() -> None:
    assert written(["HEADER", "Subject", "FROM", "SEEN"]) == 'HEADER "Subject" "FROM" SEEN'


def test_text_beyond_ascii_is_a_literal_also_in_parentheses() -> None:
    assert search_pieces(["NOT", ["SUBJECT", "hällo"]]) == [
        "CHARSET UTF-8 ", "NOT", " ", "(", "SUBJECT", " ", Literal("hällo".encode()), ")",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["a\r\nA1 DELETE INBOX", "a\n", "\r", "nul\0"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_line_break_or_nul_in_a_search_value_is_refused(value: str, nested: bool) -> None:
    criteria: list[object] = ["SUBJECT", value]
    with pytest.raises(SettingsError, match="line break or NUL"):
        search_pieces([criteria] if nested else criteria)


@given(st.text())
def test_no_search_value_ever_adds_a_line(value: str) -> None:
    try:
        pieces = search_pieces(["SUBJECT", value])
    except SettingsError:
        return
    assert not any("\r" in piece or "\n" in piece for piece in pieces if isinstance(piece, str))


@pytest.mark.parametrize("criteria", [[], "ALL", b"ALL", ["SUBJECT", object()], ["SUBJECT", b"\xff"], ["UNSEEN", None]])
def test_criteria_of_a_wrong_kind_are_refused(criteria: list[object]) -> None:
    with pytest.raises(SettingsError):
        search_pieces(criteria)


@pytest.mark.parametrize("charset", ["US-ASCII", "no-such-charset"])
def test_a_value_that_the_charset_does_not_have_is_refused(charset: str) -> None:
    with pytest.raises(SettingsError, match="another charset"):
        search_pieces(["SUBJECT", "ä"], charset)


def test_a_charset_is_named_if_it_is_asked_for_or_needed() -> None:
    assert search_pieces(["ALL"], "US-ASCII") == ["CHARSET US-ASCII ", "ALL"]
    assert search_pieces(["TEXT", "ä"], "ISO-8859-1") == ["CHARSET ISO-8859-1 ", "TEXT", " ", Literal(b"\xe4")]


@pytest.mark.parametrize("charset", ["", "UTF-8 ALL", "UTF-8\r\nA1 NOOP"])
def test_what_cannot_be_the_name_of_a_charset_is_refused(charset: str) -> None:
    with pytest.raises(SettingsError, match="name of a charset"):
        search_pieces(["ALL"], charset)


def test_flags_and_keywords_are_written_in_parentheses() -> None:
    assert flag_list([r"\Seen", "$Done", "invoice-2026"]) == r"(\Seen $Done invoice-2026)"


@pytest.mark.parametrize("flags", [[], "Seen", ["two words"], ["a)"], [""], ["\\"], ["a\r\nb"], ["ä"], ["a{1}"]])
def test_what_cannot_be_a_flag_is_refused(flags: list[str]) -> None:
    with pytest.raises(SettingsError):
        flag_list(flags)


@pytest.mark.parametrize("items", [[], "FLAGS", ["FLAGS\r\nA1 NOOP"], [""], ["BODY[ä]"]])
def test_what_cannot_be_a_fetch_item_is_refused(items: list[str]) -> None:
    with pytest.raises(SettingsError):
        item_list(items)


@pytest.mark.parametrize("folder", ["", "a\r\nb", "a\0b"])
def test_what_cannot_be_a_folders_name_is_refused(folder: str) -> None:
    with pytest.raises(SettingsError):
        check_folder(folder)
