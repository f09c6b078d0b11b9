"""Uuencoded parts: whatever the encoder did, and what is none."""

from __future__ import annotations

import binascii
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.mail.uuencoding import BEFORE_LIMIT


def uuencoded(content: bytes, end: bytes = b"\r\n") -> bytes:
    lines = [binascii.b2a_uu(content[begin : begin + 45]).rstrip(b"\n") for begin in range(0, len(content), 45)]
    return end.join([b"begin 644 data.bin", *lines, b"`", b"end", b""])


@given(st.binary(max_size=500), st.sampled_from([b"\r\n", b"\n"]))
def test_what_is_uuencoded_is_decoded(content: bytes, end: bytes) -> None:
    assert decode_transfer(uuencoded(content, end), "X-Uuencode") == content


def test_text_before_and_behind_the_file_is_not_in_it() -> None:
    raw = b"Here it is:\r\n\r\n" + uuencoded(b"a;b\n1;2\n") + b"Regards\r\n"
    assert decode_transfer(raw, "x-uue") == b"a;b\n1;2\n"


def test_blanks_left_away_and_check_digits_change_nothing() -> None:
    content = random.Random(1).randbytes(900) + bytes(90)
    raw = uuencoded(content).replace(b"`", b" ")
    assert decode_transfer(b"\r\n".join(line.rstrip() for line in raw.split(b"\r\n")), "uuencode") == content
    assert (
        decode_transfer(raw.replace(b"\r\n", b"X\r\n").replace(b"binX", b"bin").replace(b"endX", b"end"), "uue")
        == content
    )


@pytest.mark.parametrize("raw", [b"", b"a;b\r\n1;2\r\n", b"x" * 200_000, b"begin\r\n", b"line\r\n" * 20_000])
def test_what_has_no_beginning_of_a_file_stays_as_it_is(raw: bytes) -> None:
    assert decode_transfer(raw, "x-uuencode") == raw


def test_broken_lines_cost_only_themselves() -> None:
    raw = uuencoded(b"a" * 45 + b"b" * 45).replace(b"\r\n`", b"\r\n\xff\x00\r\n~~~~\r\n`")
    assert decode_transfer(raw, "x-uuencode").startswith(b"a" * 45 + b"b" * 45)
    assert len(decode_transfer(b"begin 644 a\n" + b"M" * BEFORE_LIMIT * 3, "x-uuencode")) < BEFORE_LIMIT
