"""HTML made text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.html_text import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello <b>W</b>orld</p><p>a&nbsp;&amp;&#98;", "Hello World\na &b"),
        ("one\n  two<br>three<br/>four", "one two\nthree\nfour"),
        ("<style>p { }</style>y<script>if (a<b) z</script >w", "yw"),
        ("<title>Mail</title><body>text", "text"),
        ("a<!-- x > y -->b<!-->c<!--->d", "abcd"),
        ("<!--[if mso]>hidden<![endif]-->shown<![if !mso]>too<![endif]>", "showntoo"),
        ("1 < 2 > 3 <3", "1 < 2 > 3 <3"),
        ('<a title="x > y">z</a><a title=\'"\'>w</a>', "zw"),
        ("<p it's>x</p>", "x"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c", "a b\nc"),
        ("&#99999999999999999999;&#x110000;&bogus;", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}&bogus;"),
        ("a&shy;b\N{ZERO WIDTH SPACE}c", "abc"),
        ("<p>cut off <a href='http", "cut off"),
        ("text<!-- cut off", "text"),
        ("<script>never ends", ""),
        ("<?xml version='1.0'?><HTML><BODY>x</BODY></HTML>", "x"),
        ("", ""),
        ("no markup", "no markup"),
    ],
)
def test_text_is_what_a_reader_sees(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(
    st.text()
    | st.lists(
        st.sampled_from(("<", ">", "!--", "-->", "'", '"', "=", "&", "#", "p", "/", "script", " ", "9" * 5000)),
        max_size=40,
    ).map("".join)
)
def test_any_text_is_read_without_an_exception(html: str) -> None:
    html_to_text(html)


@pytest.mark.parametrize(
    "piece",
    [
        "<!--",
        "<a ",
        "<![CDATA[",
        "<!",
        "<?",
        "<script>",
        "<a b='",
        '<a ="',
        "</a ",
        "&",
        "&#x",
        "= ",
        "<style>",
        "<",
        " \n",
        "<a b= ",
    ],
)
@pytest.mark.timeout(15)  # a quarter of a second on an idle machine; the standard library's parser alone takes longer
def test_a_hostile_document_of_the_greatest_size_keeps_nobody_busy(piece: str) -> None:
    html_to_text((piece * (256 * 1024 // len(piece)))[: 256 * 1024])
