"""From bytes to text."""

from __future__ import annotations

import re
import unicodedata
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.connection.fields import field
from airflow_imap_provider.connection.values import read
from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.charsets import clean, decode, fold, one_line

CHARSETS = (
    "",
    "utf-8",
    "utf-7",
    "utf-16",
    "iso-2022-jp",
    "hz-gb-2312",
    "gb2312",
    "shift_jis",
    "euc-kr",
    "big5",
    "koi8-r",
)


@pytest.mark.parametrize(
    ("data", "declared", "code_page", "expected"),
    [
        pytest.param("naïve".encode(), "utf-8", "", "naïve", id="as declared"),
        pytest.param("€".encode("cp1252"), "iso-8859-1", "", "€", id="windows-1252 declared as iso-8859-1"),
        pytest.param("镕".encode("gb18030"), "gb2312", "", "镕", id="gb18030 declared as gb2312"),
        pytest.param("①".encode("cp932"), "shift_jis", "", "①", id="Windows' letters in shift_jis"),
        pytest.param("각".encode("cp949"), "ks_c_5601-1987", "", "각", id="a name that Python does not know"),
        pytest.param("ж".encode(), "", "koi8-r", "ж", id="undeclared UTF-8 comes before the code page"),
        pytest.param("ж".encode("koi8-r"), "", "koi8-r", "ж", id="undeclared in the code page"),
        pytest.param("é".encode("cp1252"), "us-ascii", "cp1252", "é", id="8-bit declared as ASCII"),
        pytest.param("é".encode(), "x-unknown", "", "é", id="unknown charset"),
        pytest.param(b"\xe9", "utf-8", "", "\N{REPLACEMENT CHARACTER}", id="nothing fits"),
        pytest.param(b"\xe9", "hex", "no such", "\N{REPLACEMENT CHARACTER}", id="a codec that is no charset"),
        pytest.param(rb"\ud800\x41", "unicode_escape", "", rb"\ud800\x41".decode(), id="a codec of Python's"),
        pytest.param(b"\xe9", "cp037", "latin-1", "é", id="EBCDIC"),
        pytest.param(b"\xe9\x81", "iso-8859-1", "", "é\N{REPLACEMENT CHARACTER}", id="one byte does not fit"),
        pytest.param(b"+2AA-", "utf-7", "", "\N{REPLACEMENT CHARACTER}", id="a lone surrogate in UTF-7"),
        pytest.param(b"\xef\xbb\xbfa", "utf-8", "", "a", id="byte order mark"),
    ],
)
def test_text_is_decoded(data: bytes, declared: str, code_page: str, expected: str) -> None:
    assert decode(data, declared, code_page)[0] == expected


def code_pages() -> list[str]:
    """Names of Python's codecs that a connection takes as its code page."""
    taken = []
    for name in sorted({*aliases.values(), "idna", "utf-7"}):
        try:
            taken.append(str(read(field("code_page"), name)))
        except SettingsError:
            continue
    return taken


def test_a_code_page_that_a_connection_takes_is_one_that_text_is_read_by() -> None:
    assert {"cp1252", "koi8-r", "shift_jis", "utf-16"} <= set(code_pages())
    assert not {"cp037", "cp500", "hex", "idna", "rot13"} & set(code_pages())
    for name in code_pages():
        # Not UTF-8. What no charset takes is read by the code page anyway, with replacement characters.
        assert decode(b"\x80\xff\x80\xff", name, "")[0] == decode(b"\x80\xff\x80\xff", "", name)[0], name


def test_a_wrong_charset_is_told_as_a_problem_with_what_was_used_instead() -> None:
    assert decode("é".encode(), "us-ascii", "")[1] == "declared as us-ascii, read as utf-8"
    assert decode(b"\xe9", "utf-8", "")[1] == "declared as utf-8, which does not fit"
    assert decode(b"plain", "x-unknown", "")[1] == ""


@pytest.mark.parametrize("charset", ["utf-8", "gb2312", "shift_jis", "utf-16"])
def test_text_that_was_cut_within_a_character_keeps_its_charset(charset: str) -> None:
    data = "日本語".encode({"gb2312": "gb18030"}.get(charset, charset))[:-1]
    text, problem = decode(data, charset, "windows-1252", cut=True)
    assert (text, problem) == ("日本", "")


@given(st.binary(), st.sampled_from(CHARSETS) | st.text(), st.sampled_from(CHARSETS) | st.text(), st.booleans())
def test_any_bytes_in_any_charset_give_text_that_can_be_stored(
    data: bytes, declared: str, code_page: str, cut: bool
) -> None:
    text, _ = decode(data, declared, code_page, cut=cut)
    assert text == clean(text)
    text.encode("utf-8")


@given(st.text(st.characters()))
def test_clean_text_has_no_surrogates_nul_or_control_characters(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert all(c in "\t\n" or (c >= " " and not "\x7f" <= c <= "\x9f") for c in cleaned)
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" Your\r\n invoice ", "Your invoice"),
        ("Your\r\n\tinvoice", "Your invoice"),
        ("two  blanks stay", "two  blanks stay"),
        ("escape \x1b[2J", "escape \N{REPLACEMENT CHARACTER}[2J"),
        ("a\N{LINE SEPARATOR}b", "a b"),
    ],
)
def test_a_header_is_unfolded(value: str, expected: str) -> None:
    assert one_line(value) == expected


@given(st.text(alphabet="ab \t\r\n\x0b\x85\u2028"))
def test_unfolding_takes_each_break_with_the_blanks_around_it(value: str) -> None:
    plain = re.sub(r"[ \t]*[\r\n\t\x0b\x85\u2028]+[ \t\r\n\x0b\x85\u2028]*", " ", value)
    assert one_line(f"é{value}é") == one_line(f"é{plain}é") == f"é{plain}é"


@pytest.mark.timeout(5)
@pytest.mark.parametrize("blank", [" ", "\t", " \t"])
def test_unfolding_takes_no_quadratic_time(blank: str) -> None:
    assert one_line(f"é{blank * 100_000}é").endswith("é")


def test_folding_ignores_case_and_form() -> None:
    assert fold("STRASSE", case=False) == fold("straße", case=False)
    assert fold("e\u0301", case=True) == fold("é", case=True)
    assert fold("E\u0301", case=False) == fold("é", case=False)
    assert fold("A", case=True) != fold("a", case=True)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73"], ids=["accents", "a mark that is two"])
def test_folding_takes_no_quadratic_time_for_marks_in_a_row(marks: str) -> None:
    folded = fold("e" + marks * 130_000, case=False)
    assert folded[0] == unicodedata.normalize("NFC", "e" + marks * 15)[0]


@given(st.text(alphabet="aé\u0301\u0323\u0f73\u2500 ", max_size=60), st.booleans())
def test_folding_composes_all_that_languages_write(text: str, case: bool) -> None:
    plain = unicodedata.normalize("NFC", text)
    plain = plain if case else unicodedata.normalize("NFC", plain.casefold())
    runs = re.split(r"[^\u0301\u0323\u0f73]+", text)
    assert (fold(text, case=case) == plain) or max(map(len, runs)) > 30
