"""The parts of a message that forwards a mail: as it is, byte by byte, or its text and its attachments.

What SMTP cannot carry as it is (RFC 5321, section 4.5.3.1.6; RFC 5322, section 2.1.1), or this server does not take, is
encoded. To whom it goes, and the header of the message, is not known here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from contextlib import closing
from email.message import EmailMessage
from email.policy import SMTP

from airflow_imap_provider.mail.header_block import header_fields
from airflow_imap_provider.mail.message import Attachment, Mail
from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.mailbox.contents import Contents, opened_contents
from airflow_imap_provider.mailbox.download import part_content
from airflow_imap_provider.mailbox.marks import Marks
from airflow_imap_provider.mailbox.names import safe_name, typed_name
from airflow_imap_provider.transport.session import Session

__all__ = ["attached", "inline", "multipart"]

LONGEST_LINE = 998
"""Bytes of a line that SMTP carries (RFC 5322, section 2.1.1)."""

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_CONTENT_FIELD = re.compile(r"content-(?!length$)[a-z0-9-]+")
"""Content-Length is of files with many mails (mbox), and never true of what SMTP has carried."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


def attached(raw: bytes, mail: Mail, *, eight_bit: bool) -> list[bytes]:
    """Return the whole mail as one part.

    :param raw: the mail.
    :param eight_bit: whether the SMTP server takes bytes beyond ASCII.
    """
    raw = _LINE_END.sub(b"\r\n", raw)
    name = f"{safe_name(mail.subject, 'message')}.eml"
    if _carried(raw, eight_bit=eight_bit):
        head = _message_head(name, "7bit" if raw.isascii() else "8bit")
        return [head + raw]
    # message/rfc822 may not be encoded (RFC 2046, section 5.2.1), and as it is no SMTP server would carry it.
    return [_encoded(raw, "application/octet-stream", name)]


def inline(session: Session, mail: Mail, marks: Marks, *, eight_bit: bool) -> tuple[list[bytes], int]:
    """Return a text that shows the mail's, then its attachments as they are; and the deepest mark in all of that.

    :param eight_bit: as above.
    :raises ImapError: one of them is nowhere to be had.
    """
    with opened_contents(mail, lambda: session) as contents:
        mail = contents.with_text()
        shown = EmailMessage(policy=SMTP)
        lines = [
            "---------- Forwarded message ----------",
            f"From: {', '.join(map(str, mail.from_))}",
            f"Date: {mail.date or mail.received}",
            f"Subject: {mail.subject}",
            f"To: {', '.join(map(str, mail.to))}",
            "",
            mail.text or "",
        ]
        shown.set_content("\n".join(lines), charset="utf-8", cte="base64")
        parts, depths = (
            [_without_version(shown.as_bytes())],
            [marks.depth((mail.text or "").encode("utf-8", "replace"))],
        )
        # What is in an attached mail goes along with that.
        within = tuple(f"{each.part}." for each in mail.attachments if each.content_type.startswith("message/"))
        for each in mail.attachments:
            if not each.part.startswith(within):
                part, depth = _as_part(session, contents, each, marks, eight_bit=eight_bit)
                parts.append(part)
                depths.append(depth)
        return parts, max(depths)


def _as_part(
    session: Session, contents: Contents, attachment: Attachment, marks: Marks, *, eight_bit: bool
) -> tuple[bytes, int]:
    """Return an attachment as it is in its mail, or encoded anew if it cannot go so; and the deepest mark in it."""
    source, pieces = contents.transferred(attachment)
    with closing(pieces):
        body = b"".join(pieces)
    fields = [] if source.counted else _content_fields(session, contents.mail.uid, source.part)
    if not _carried(b"".join(fields), eight_bit=eight_bit):
        fields = []
    # A mark can be seen in what is not encoded yet.
    depth = max(map(marks.depth, (body, *fields)))
    if fields and source.encoding != "binary" and _carried(body, eight_bit=eight_bit):
        return b"".join(fields) + b"\r\n" + body, depth
    # What is composed of parts may not be encoded (RFC 2045, section 6.4).
    composed = source.content_type.startswith(("multipart/", "message/")) or not _TYPE.fullmatch(source.content_type)
    content = decode_transfer(body, source.encoding)
    if fields and not composed:
        # With its charset, which nothing else knows.
        kept = b"".join(each for each in fields if not each.startswith(b"Content-Transfer-Encoding:"))
        return kept + b"Content-Transfer-Encoding: base64\r\n\r\n" + _base64(content), depth
    content_type = "application/octet-stream" if composed else source.content_type
    name = safe_name(source.name, typed_name(f"attachment-{source.part}", source.content_type))
    return _encoded(content, content_type, name), depth


def _content_fields(session: Session, uid: int, part: str) -> list[bytes]:
    """Return the fields that say what a part is, a line each; none if the server tells none.

    Of a mail that is no multipart, servers give the mail's whole header for the MIME header of its one part. What does
    not begin with ``Content-`` has no meaning in a part (RFC 2045, section 9), and is nobody's business there.
    """
    header = part_content(session, uid, f"{part}.MIME", "7bit").strip(b"\r\n")
    found = header_fields(_LINE_END.sub(b"\r\n", header), [])
    named = [(name, value) for name, value in found if _CONTENT_FIELD.fullmatch(name)]
    return [f"{name.title()}:".encode() + value.rstrip() + b"\r\n" for name, value in named]


def _carried(content: bytes, *, eight_bit: bool) -> bool:
    """Tell whether an SMTP server takes this as it is: no NUL, no long line, no line end but CR LF.

    Nothing is copied for it, since it may be large.
    """
    ends = content.count(b"\r\n")
    if b"\0" in content or content.count(b"\r") != ends or content.count(b"\n") != ends:
        return False
    start = 0
    while len(content) - start > LONGEST_LINE:
        end = content.rfind(b"\r\n", start, start + LONGEST_LINE + 2)
        if end < 0:
            return False
        start = end + 2
    return eight_bit or content.isascii()


def _encoded(content: bytes, content_type: str, name: str) -> bytes:
    part = EmailMessage(policy=SMTP)
    main, _, sub = content_type.partition("/")
    part.set_content(content, maintype=main, subtype=sub, filename=name, cte="base64")
    return _without_version(part.as_bytes())


def _base64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def _message_head(name: str, encoding: str) -> bytes:
    part = EmailMessage(policy=SMTP)
    part["Content-Transfer-Encoding"] = encoding
    part.add_header("Content-Disposition", "attachment", filename=name)
    # Not by the email package, which wants to write the message within, too.
    return b"Content-Type: message/rfc822\r\n" + part.as_bytes().rstrip(b"\r\n") + b"\r\n\r\n"


def _without_version(part: bytes) -> bytes:
    return part.replace(b"MIME-Version: 1.0\r\n", b"", 1)


def multipart(parts: Sequence[bytes]) -> bytes:
    """Put parts together as they are; the email package would write them anew."""
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    number = 0
    while any(f"--{digest[:24]}.{number}".encode() in part for part in parts):
        number += 1  # a mail cannot foresee its own digest; this is for certainty
    boundary = f"{digest[:24]}.{number}"
    lines = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()
    return head + lines + f"--{boundary}--\r\n".encode()
