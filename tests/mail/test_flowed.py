"""Text in format=flowed reads as it was written (RFC 3676)."""

from __future__ import annotations

import pytest

from airflow_imap_provider.mail.flowed import unflowed
from airflow_imap_provider.mail.raw import mail_from_raw
from tests.mail.corpus.pieces import single


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The invoice \n4711 is \nattached.\n\nRegards", "The invoice 4711 is attached.\n\nRegards"),
        ("> quoted \n> on\n>> deeper \n> less\nown", "> quoted on\n>> deeper \n> less\nown"),
        (" >no quotation\n From here\n", ">no quotation\nFrom here\n"),
        ("Regards \n-- \nAnn \nExample", "Regards \n-- \nAnn Example"),
        ("a \n", "a "),
        ("", ""),
    ],
)
def test_paragraphs_are_on_one_line_again(text: str, expected: str) -> None:
    assert unflowed(text, delete_space=False) == expected


def test_a_blank_that_came_with_the_break_goes_with_it() -> None:
    assert unflowed("日本 \n語 \n", delete_space=True) == "日本語"


def test_only_plain_text_that_says_so_is_joined() -> None:
    body = b"The invoice \r\n4711\r\n"
    assert mail_from_raw(single(b"Content-Type: text/plain; format=Flowed", body)).text == "The invoice 4711\n"
    assert (
        mail_from_raw(single(b"Content-Type: text/plain; format=flowed; DelSp=Yes", body)).text == "The invoice4711\n"
    )
    assert mail_from_raw(single(b"Content-Type: text/plain", body)).text == "The invoice \n4711\n"
    assert mail_from_raw(single(b"Content-Type: text/html; format=flowed", body)).text == "The invoice 4711"
