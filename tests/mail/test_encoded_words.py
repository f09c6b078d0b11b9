"""RFC 2047 and RFC 2231, kept and broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.encoded_words import CONTINUATIONS_LIMIT, decode_parameters, decode_words
from tests.mail.strategies import header_values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b" plain", "plain", id="nothing encoded"),
        pytest.param(b"=?utf-8?Q?caf=C3=A9_noir?=", "café noir", id="Q"),
        pytest.param(b"=?UTF-8?b?Y2Fmw6k=?=", "café", id="B in lower case"),
        pytest.param(b"=?utf-8?B?Y2Fmw6k?=", "café", id="padding missing"),
        pytest.param(b"=?utf-8?B?Y2Fm w6k=?=", "café", id="blank in base64"),
        pytest.param(b"=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café", id="character split over words"),
        pytest.param(b"=?utf-8?B?Y2Fmww==?=\r\n =?utf-8?B?qQ==?=", "café", id="character split over folded words"),
        pytest.param(b"=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab", id="blank between words"),
        pytest.param(b"=?utf-8?Q?a?= and =?utf-8?Q?b?=", "a and b", id="text between words"),
        pytest.param(b"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab", id="no blank between words"),
        pytest.param(b"x=?utf-8?Q?a?=y", "xay", id="no blank around a word"),
        pytest.param(b"=?utf-8?Q?two words?=", "two words", id="blank in a word"),
        pytest.param(b"=?utf-8?Q?What??=", "What?", id="question mark in a word"),
        pytest.param(b"=?utf-8*en?Q?a?=", "a", id="language"),
        pytest.param(b"=?gb2312?B?6kg=?=", "闔", id="gb18030 in gb2312"),
        pytest.param(b"=?iso-2022-jp?B?GyRCRnwbKEI=?= =?iso-2022-jp?B?GyRCS1wbKEI=?=", "日本", id="stateful charset"),
        pytest.param(b"=?utf-8?Q?=ZZ?=", "=ZZ", id="broken Q"),
        pytest.param(b"=?utf-8?X?a?=", "=?utf-8?X?a?=", id="unknown encoding"),
        pytest.param(b"=?utf-8?Q?a", "=?utf-8?Q?a", id="no end"),
        pytest.param(b"=?no-such?Q?a=E9?=", "aé", id="unknown charset: the code page"),
        pytest.param(b"caf\xe9 =?utf-8?Q?=C3=A9?=", "café é", id="raw 8-bit beside a word"),
        pytest.param(b"=?utf-8?Q?a=00b?=", "a\N{REPLACEMENT CHARACTER}b", id="NUL"),
        pytest.param(b"=?utf-8?Q?a=0D=0ABcc:_x?=", "a Bcc: x", id="line end in a word"),
        pytest.param(b"=?utf-8?B?7aCA?=", "\N{REPLACEMENT CHARACTER}" * 3, id="a surrogate in UTF-8"),
        pytest.param(b"=??Q?a?=", "a", id="no charset"),
    ],
)
def test_header_text_is_decoded(value: bytes, expected: str) -> None:
    assert decode_words(value, "windows-1252" if b"\xe9" in value or b"no-such" in value else "", []) == expected


@given(st.binary(max_size=100) | header_values)
def test_any_bytes_give_one_line_that_can_be_stored(value: bytes) -> None:
    text = decode_words(value, "windows-1252", [])
    text.encode("utf-8")
    assert text.isprintable() or all(c not in text for c in "\r\n\t\0")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param([(b"FileName", b"a.csv")], "a.csv", id="plain"),
        pytest.param([(b"filename", b"=?utf-8?Q?caf=C3=A9.csv?=")], "café.csv", id="RFC 2047"),
        pytest.param([(b"filename*", b"utf-8'en'caf%C3%A9.csv")], "café.csv", id="RFC 2231"),
        pytest.param([(b"filename*", b"caf%C3%A9.csv")], "café.csv", id="RFC 2231 without charset"),
        pytest.param([(b"filename*0", b"long "), (b"filename*1", b"name.csv")], "long name.csv", id="pieces"),
        pytest.param(
            [(b"filename*1*", b"%A9.csv"), (b"filename*0*", b"utf-8''caf%C3")],
            "café.csv",
            id="encoded pieces in disorder",
        ),
        pytest.param(
            [(b"filename*0*", b"utf-8''%C3%A9"), (b"filename*1", b"%41.csv")], "é%41.csv", id="one piece encoded"
        ),
        pytest.param(
            [(b"filename*0", b"=?utf-8?Q?caf"), (b"filename*1", b"=C3=A9.csv?=")], "café.csv", id="RFC 2047 in pieces"
        ),
        pytest.param([(b"filename", b"x"), (b"filename*", b"utf-8''y")], "y", id="both forms"),
        pytest.param([(b"filename", "café.csv".encode())], "café.csv", id="raw UTF-8"),
        pytest.param([(b"filename*", b"no-such''%C3%A9")], "é", id="unknown charset"),
        pytest.param([(b"filename*", b"utf-8''%zz")], "%zz", id="broken percents"),
        pytest.param([(b"filename", b"../../etc/passwd")], "../../etc/passwd", id="a path is not made safe here"),
        pytest.param([(b"filename*99999999999999999999", b"x"), (b"filename*0", b"y")], "y", id="absurd number"),
        pytest.param([(b"filename*-1", b"x"), (b"filename", b"y")], "y", id="negative number"),
        pytest.param([(b"filename", b"a\r\n\tb.csv")], "a b.csv", id="folded"),
    ],
)
def test_a_parameter_is_decoded(parameters: list[tuple[bytes, bytes]], expected: str) -> None:
    assert decode_parameters(parameters, "", [])["filename"] == expected


def test_a_missing_piece_is_told_as_a_problem() -> None:
    problems: list[str] = []
    assert decode_parameters([(b"name*0", b"a"), (b"name*2", b"c")], "", problems) == {"name": "ac"}
    assert problems == ["a parameter lacks one of its pieces"]


def test_only_so_many_pieces_are_put_together() -> None:
    pieces = [(b"name*%d" % number, b"x") for number in range(CONTINUATIONS_LIMIT * 2)]
    assert decode_parameters(pieces, "", [])["name"] == "x" * CONTINUATIONS_LIMIT


@given(st.lists(st.tuples(st.sampled_from((b"name", b"name*", b"name*0", b"name*0*", b"*", b"")), st.binary())))
def test_any_parameters_give_texts_that_can_be_stored(parameters: list[tuple[bytes, bytes]]) -> None:
    for text in decode_parameters(parameters, "", []).values():
        text.encode("utf-8")
