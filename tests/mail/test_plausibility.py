"""A body structure is believed unless it cannot be that of its mail."""

from __future__ import annotations

import pytest

from airflow_imap_provider.mail.message import Mail
from tests.mail.builders import PLAIN_TEXT, read

PDF = b'("application" "pdf" ("name" "a.pdf") NIL NIL "base64" 40000 NIL ("attachment" ("filename" "a.pdf")) NIL NIL)'
MIXED = b"(" + PLAIN_TEXT + PDF + b' "mixed" ("boundary" "x") NIL NIL NIL)'
PLAIN = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 120 4 NIL NIL NIL NIL)'


def told(header: bytes = b"", *, structure: bytes = PLAIN, size: int = 500) -> Mail:
    return read(header, structure=structure, size=size)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Content-Type: text/plain\r\n\r\n",
        b"Content-Type: text\r\n\r\n",
        b"Content-Type: attachment; name=a.pdf\r\n\r\n",
        b"Content-Type: TEXT/Plain; charset=US-ASCII (c)\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n",
        b"Content-Transfer-Encoding: x-unknown\r\n\r\n",
        b"Content-Disposition: \r\n\r\n",
    ],
)
def test_a_structure_that_says_what_the_header_says_is_believed(header: bytes) -> None:
    assert told(header).structured


@pytest.mark.parametrize(
    ("header", "defect"),
    [
        (b"Content-Type: multipart/mixed; boundary=x", "the header announces several parts, the structure has one"),
        (b"Content-Type: Application/PDF; name=a.pdf", "the header says application/pdf, the structure text/plain"),
        (b"Content-Type: text/html", "the header says text/html, the structure text/plain"),
        (b"Content-Transfer-Encoding:\r\n Base64", "the header says base64, the structure 7bit"),
        (b"Content-Disposition: attachment; filename=a", "the header has a disposition, the structure none"),
        (b"Content-Type: text/plain;\r\n\tcharset=koi8-r", "the header has a charset, the structure none"),
    ],
)
def test_a_structure_without_what_the_header_says_is_not_believed(header: bytes, defect: str) -> None:
    mail = told(header + b"\r\n\r\n")
    assert not mail.structured
    assert defect in mail.defects


def test_what_the_server_understands_otherwise_than_we_is_its_affair() -> None:
    header = b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert told(header, structure=PDF).structured
    assert told(header.replace(b"application/pdf", b"application/x-pdf"), structure=PDF).structured
    assert told(b"Content-Type: text/plain\r\n\r\n", structure=PDF).structured


@pytest.mark.parametrize(
    ("size", "believed"),
    [
        (40_300, True),
        (100_000, True),  # a header as long as they come, and a size that was reckoned
        (140_200, True),
        (145_000, False),
        (30_000_000, False),
        (100, True),
    ],
)
def test_a_structure_whose_parts_are_much_smaller_than_the_mail_is_not_believed(size: int, *, believed: bool) -> None:
    mail = told(structure=MIXED, size=size)
    assert mail.structured is believed
    assert believed or f"the mail has {size} bytes, the parts in its structure 40120" in mail.defects


def test_an_attached_mail_counts_once() -> None:
    inner = b'("message" "rfc822" NIL NIL NIL "7bit" 900000 NIL %s 10 NIL NIL NIL NIL)' % MIXED
    assert told(structure=b"(" + PLAIN_TEXT + inner + b' "mixed" NIL NIL NIL NIL)', size=1_000_000).structured
    assert not told(structure=b"(" + PLAIN_TEXT + inner + b' "mixed" NIL NIL NIL NIL)', size=1_400_000).structured
