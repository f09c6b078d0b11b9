"""Mails for tests: FETCH answers as a server writes them, read by IMAPClient's own parser, and mails made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from imapclient.response_parser import parse_fetch_response

from airflow_imap_provider.mail.fetching import mail_from_fetch
from airflow_imap_provider.mail.message import Address, Attachment, Mail, TextPart

PLAIN_TEXT = b'("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 120 4 NIL NIL NIL NIL)'

RECEIVED = datetime(2026, 1, 31, 11, 30, tzinfo=timezone.utc)


def answer(
    header: bytes = b"",
    *,
    structure: bytes = PLAIN_TEXT,
    date: bytes = b'"31-Jan-2026 12:30:00 +0100"',
    size: int = 4321,
    flags: bytes = rb"(\Seen)",
    parts: Mapping[str, bytes] | None = None,
) -> dict[bytes, Any]:
    """What IMAPClient makes of a server's answer to FETCH.

    :param header: the header block, as the literal that servers send.
    :param structure: the BODYSTRUCTURE as the server writes it; a ``{}`` in it stands for a literal of nothing.
    :param parts: sections of the body by part number, sent as literals.
    """
    line = b"1 (UID 7 FLAGS %s INTERNALDATE %s RFC822.SIZE %d BODYSTRUCTURE %s" % (flags, date, size, structure)
    line += b" BODY[HEADER.FIELDS (FROM TO SUBJECT)] {%d}" % len(header)
    lines: list[Any] = [(line, header)]
    for number, content in (parts or {}).items():
        lines.append((b" BODY[%s]<0> {%d}" % (number.encode(), len(content)), content))
    lines.append(b")")
    return dict(parse_fetch_response(lines, normalise_times=False)[7])


def read(
    header: bytes = b"",
    *,
    code_page: str = "windows-1252",
    headers: Sequence[str] = (),
    **fields: Any,
) -> Mail:
    """A mail read from a server's answer; for the fields see :func:`answer`."""
    return read_answer(answer(header, **fields), code_page=code_page, headers=headers)


def read_answer(response: Mapping[bytes, Any], *, code_page: str = "", headers: Sequence[str] = ()) -> Mail:
    return mail_from_fetch(
        response, conn_id="mail", folder="INBOX", uid=7, uidvalidity=1, code_page=code_page, headers=headers
    )


def mail(**changes: Any) -> Mail:
    """A mail with plain values."""
    values: dict[str, Any] = {
        "conn_id": "imap4_default",
        "folder": "INBOX",
        "uid": 7,
        "uidvalidity": 1,
        "message_id": "<1@example.com>",
        "subject": "Your invoice 4711",
        "from_": (Address("Billing Team", "billing@example.com"),),
        "to": (Address("", "us@example.org"),),
        "cc": (),
        "reply_to": (),
        "date": RECEIVED,
        "received": RECEIVED,
        "size": 4321,
        "flags": (),
        "headers": {},
        "attachments": (Attachment("invoice.csv", "text/csv", 100, "2", "base64"),),
        "text_parts": (TextPart("1", "text/plain", "utf-8", "7bit", 10),),
        "text": "Dear customer",
        "defects": (),
    }
    return Mail(**{**values, **changes})
