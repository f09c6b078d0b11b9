"""A mail as a part of another: as it is if SMTP can carry it, and as an encoded file if not, with nothing lost."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import cast

import pytest

from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mailbox.enclosing import attached, multipart
from tests.mail.builders import mail as make_mail

HEAD = b"Subject: s\r\n\r\n"
FULL = b"a" * 998


def enclosed(raw: bytes, mail: Mail, *, eight_bit: bool) -> tuple[str, str, bytes]:
    """Return type, file name and content of the one part, as who gets it reads them."""
    parts = attached(raw, mail, eight_bit=eight_bit)
    message = message_from_bytes(b"MIME-Version: 1.0\r\n" + multipart(parts), policy=policy.SMTP)
    [part] = message.iter_parts()
    if part.get_content_type() == "message/rfc822":
        return part.get_content_type(), str(part.get_filename()), part.get_content().as_bytes()
    return part.get_content_type(), str(part.get_filename()), cast("bytes", part.get_payload(decode=True))


@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize("body", [b"", b"a\r\n", FULL, FULL + b"\r\n" + FULL + b"\r\n", b"\r\n" * 2000, b"a\r\n" * 999])
def test_what_smtp_carries_goes_as_it_is(body: bytes, *, eight_bit: bool) -> None:
    mail = make_mail(subject="Größe")
    assert enclosed(HEAD + body, mail, eight_bit=eight_bit) == ("message/rfc822", "Größe.eml", HEAD + body)


@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize(
    "body",
    [b"\0", b"a\r\n\0", FULL + b"b", FULL + b"b\r\nc", FULL + b"\r\n" + FULL + b"b", b"a\r\n" * 999 + FULL + b"bc"],
)
def test_what_no_smtp_server_carries_goes_as_an_encoded_file(body: bytes, *, eight_bit: bool) -> None:
    mail = make_mail(subject="s")
    assert enclosed(HEAD + body, mail, eight_bit=eight_bit) == ("application/octet-stream", "s.eml", HEAD + body)


def test_bytes_beyond_ascii_go_as_they_are_only_to_servers_that_take_them() -> None:
    for eight_bit, content_type in ((True, "message/rfc822"), (False, "application/octet-stream")):
        assert enclosed(HEAD + "Größe".encode(), make_mail(), eight_bit=eight_bit)[0] == content_type
