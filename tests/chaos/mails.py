"""Mails for the fault suite: ordinary ones, ones that nobody wants, and ones that are hard to read."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["SENDER", "STRANGER", "hard", "ordinary"]

SENDER = "billing@example.com"
"""The sender that the triggers' conditions ask for."""
STRANGER = "newsletter@example.org"
"""A sender that nobody waits for."""


def ordinary(number: str, sender: str = SENDER, words: str = "") -> bytes:
    """Return a small mail.

    :param number: by which the ledger knows it again.
    :param words: more of its subject.
    """
    return _mail(
        [f"From: {sender}".encode(), f"Subject: {words} mail-{number}".encode(), *_identity(number)], b"Hello.\r\n"
    )


def hard(number: str, rng: random.Random) -> bytes:
    """Return a mail of a kind that programs that read mail have stumbled over."""
    return rng.choice(_HARD)(number)


def _identity(number: str) -> list[bytes]:
    return [f"Message-ID: <mail-{number}@example.com>".encode(), b"To: me@example.com"]


def _mail(headers: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join([*headers, b"", body])


def _raw_bytes_in_headers(number: str) -> bytes:
    return _mail([f"From: {SENDER}".encode(), b"Subject: \xff\xfe\x81 invoice \xc3", *_identity(number)], b"\xff\r\n")


def _broken_encoded_words(number: str) -> bytes:
    subject = b"Subject: =?utf-8?B?w6?= =?unknown-8bit?Q?=ED=A0=80?= =?x?y?z?="
    return _mail([f"From: =?utf-8?Q?=FF?= <{SENDER}>".encode(), subject, *_identity(number)], b"text\r\n")


def _endless_multipart(number: str) -> bytes:
    kind = b'Content-Type: multipart/mixed; boundary="b"'
    inner = (b"--b\r\n" + kind + b"\r\n\r\n") * 40
    return _mail([f"From: {SENDER}".encode(), b"Subject: nested", kind, *_identity(number)], inner + b"--b--\r\n")


def _unknown_types_and_names(number: str) -> bytes:
    body = (
        b"--b\r\nContent-Type: text/plain; charset=no-such-charset\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n"
        b"--b\r\nContent-Type: application/\r\n"
        b"Content-Disposition: attachment; filename*0*=utf-8''%FF%; filename=\"\r\n\r\n"
        b"x\r\n--b--\r\n"
    )
    kind = b'Content-Type: multipart/mixed; boundary="b"'
    return _mail([f"From: {SENDER}".encode(), b"Subject: types", b"MIME-Version: 1.0", kind, *_identity(number)], body)


def _huge_header(number: str) -> bytes:
    # What stands behind so much may not be read any more, and the ledger must know the mail again.
    long = b"X-Long: " + b"\r\n ".join([b"x" * 900] * 300)
    return _mail([*_identity(number), f"From: {SENDER}".encode(), b"Subject: " + b"long " * 2000, long], b"text\r\n")


def _thousand_addresses(number: str) -> bytes:
    many = b",\r\n ".join(b'"Some, One" <a%d@example.com>' % index for index in range(1000))
    return _mail([f"From: {SENDER}".encode(), b"Subject: many", b"Cc: " + many, *_identity(number)], b"text\r\n")


def _impossible_date(number: str) -> bytes:
    date = b"Date: Thu, 99 Foo 0000 25:61:61 +9999"
    return _mail([f"From: {SENDER}".encode(), b"Subject:", date, date, *_identity(number)], b"")


_HARD: tuple[Callable[[str], bytes], ...] = (
    _raw_bytes_in_headers,
    _broken_encoded_words,
    _endless_multipart,
    _unknown_types_and_names,
    _huge_header,
    _thousand_addresses,
    _impossible_date,
)
