"""In what a mail differs from the one that was told, as far as a server says so."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_imap_provider.mail.payload import payload
from airflow_imap_provider.mailbox.identity import Identity
from tests.mail.builders import answer, read_answer

HEADER = b"Message-ID: <1@example.com>\r\nDate: Sat, 31 Jan 2026 12:29:55 +0100\r\n\r\n"


def told(header: bytes = HEADER, lacking: str = "", style: str = "full", **fields: Any) -> dict[str, Any]:
    return payload(read_answer(given(header, lacking, **fields)), style=style)


def given(header: bytes = HEADER, lacking: str = "", **fields: Any) -> dict[bytes, Any]:
    """A server's answer, without what it does not tell."""
    response = answer(header, **fields)
    return {name: value for name, value in response.items() if not lacking or not name.startswith(lacking.encode())}


LATER = b'"31-Jan-2026 12:30:01 +0100"'
ELSEWHERE = b'"31-Jan-2026 11:30:00 +0000"'
OTHER = HEADER.replace(b"<1@", b"<2@")
WITHOUT_ID = b"Date: Sat, 31 Jan 2026 12:29:55 +0100\r\n\r\n"
LONG = HEADER.replace(b"<1@", b"<" + b"1" * 600 + b"@")


@pytest.mark.parametrize("style", ["full", "minimal"])
@pytest.mark.parametrize(
    ("email", "now", "difference"),
    [
        ({}, {}, ""),
        ({}, {"date": ELSEWHERE}, ""),
        ({}, {"size": 9}, ""),
        ({}, {"date": LATER}, "date of arrival"),
        ({}, {"header": OTHER}, "Message-ID"),
        ({}, {"header": WITHOUT_ID}, "Message-ID"),
        ({"header": LONG}, {"header": LONG}, ""),
        ({"header": LONG}, {"header": LONG, "date": LATER}, "date of arrival"),
        ({"header": LONG}, {"header": OTHER}, "Message-ID"),
        ({"header": WITHOUT_ID}, {"header": WITHOUT_ID}, ""),
        ({"header": WITHOUT_ID}, {"header": WITHOUT_ID, "size": 9}, "size"),
        ({"header": WITHOUT_ID, "lacking": "RFC822.SIZE"}, {"header": WITHOUT_ID, "size": 9}, ""),
        ({"header": WITHOUT_ID}, {"header": OTHER, "date": LATER}, "date of arrival"),
        ({"lacking": "INTERNALDATE"}, {}, ""),
        ({"lacking": "INTERNALDATE"}, {"lacking": "INTERNALDATE"}, ""),
        ({"lacking": "INTERNALDATE"}, {"header": OTHER}, "Message-ID"),
        ({}, {"lacking": "INTERNALDATE"}, ""),
        ({}, {"lacking": "BODY[HEADER"}, ""),
        ({}, {"lacking": "BODY[HEADER", "size": 9}, "size"),
        ({"lacking": "BODY[HEADER"}, {}, ""),
    ],
)
def test_only_what_is_known_of_both_counts_and_the_size_only_without_a_message_id(
    style: str, email: dict[str, Any], now: dict[str, Any], difference: str
) -> None:
    assert Identity.of(told(style=style, **email)).difference(read_answer(given(**now))) == difference


@pytest.mark.parametrize(
    "changes", [{"received": None}, {"received": "yesterday"}, {"received": "2026-01-31T12:00:00"}, {"message_id": 1}]
)
def test_what_somebody_else_has_put_into_a_mails_dict_is_not_known(changes: dict[str, Any]) -> None:
    identity = Identity.of({**told(), **changes})
    assert not identity.complete
    assert identity.difference(read_answer(given())) == ""
