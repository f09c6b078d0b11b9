"""Transfer encodings, kept and broken."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imap_provider.mail.transfer import decode_transfer


@pytest.mark.parametrize(
    ("raw", "encoding", "content"),
    [
        (b"YWJj\r\nZA==\r\n", "BASE64 ", b"abcd"),
        (b"YWJjZA", "base64", b"abcd"),
        (b"YWJjZ", "base64", b"abc"),
        (b"YW Jj!ZA==", "base64", b"abcd"),
        (b"YWJjZA==\r\n-- \r\nfooter of a list", "base64", b"abcd"),
        (b"YWJjZA==\r\n\r\nUnsubscribe\r\n", "base64", b"abcd"),
        (b"YWJjZA==\r\nLeave the list\r\n", "base64", b"abcd"),
        (b"YQ==\r\nYmM=\r\nZGVm\r\nZw==\r\n", "base64", b"abcdefg"),
        (b"YQ==YmM=ZGVmZw==", "base64", b"abcdefg"),
        (b"YQ= =\r\n \r\nYmM=\t\r\nZGVm  ", "base64", b"abcdef"),
        (b"YWJj=\r\nZGVm", "base64", b"abcdef"),
        (b"YQ==\r\n" + b"YWJj" * 5_000 + b"\r\n", "base64", b"a" + b"abc" * 5_000),
        (b"", "base64", b""),
        (b"caf=C3=A9 =\r\nnoir=20", "quoted-printable", "café noir ".encode()),
        (b"50 =ZZ 100=", "quoted-printable", b"50 =ZZ 100"),
        (b"as is\r\n", "7bit", b"as is\r\n"),
        (b"as is", "x-unknown", b"as is"),
        (b"as is", "", b"as is"),
    ],
)
def test_content_is_decoded(raw: bytes, encoding: str, content: bytes) -> None:
    assert decode_transfer(raw, encoding) == content


@given(st.binary())
def test_what_is_encoded_is_decoded_again(content: bytes) -> None:
    assert decode_transfer(base64.encodebytes(content), "base64") == content
    # As binary: as a text, different line ends become one kind.
    quoted = binascii.b2a_qp(content, quotetabs=True, istext=False)
    assert decode_transfer(quoted, "quoted-printable") == content


@given(st.lists(st.binary()))
def test_pieces_that_were_encoded_one_by_one_come_whole(pieces: list[bytes]) -> None:
    assert decode_transfer(b"".join(map(base64.encodebytes, pieces)), "base64") == b"".join(pieces)
    assert decode_transfer(b"".join(map(base64.b64encode, pieces)), "base64") == b"".join(pieces)


@given(st.binary(), st.sampled_from(("base64", "quoted-printable", "8bit")))
def test_any_bytes_are_decoded_without_an_exception(raw: bytes, encoding: str) -> None:
    assert len(decode_transfer(raw, encoding)) <= len(raw)
