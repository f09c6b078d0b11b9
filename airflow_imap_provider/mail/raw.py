"""A whole mail as bytes: an ``.eml`` file, an attached mail, or one whose structure a server does not tell.

It finds the parts and describes them as a server's BODYSTRUCTURE does, so everything else (names, charsets, what is an
attachment, what is the text) is decided by the same code as for a mail on a server. Not the standard library's
parser, which calls itself for each level and compares each line with the boundaries around it: measured on Python 3.11,
it ends with a RecursionError on 1,000 multiparts one in the other (80 kB; 980 are read), and takes 58 s of CPU for 980
around 4 MB of lines that begin with two dashes. This one takes less than a tenth of a second for that.

What senders break is read so that nothing is lost: parts behind the closing boundary, a boundary that is not declared,
multiparts too deep to follow (all of them together are one attachment then).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Any

from airflow_imap_provider.mail.fetching import TEXT_LIMIT, listed_defects, mail_from_fetch, with_text
from airflow_imap_provider.mail.message import Attachment, Mail
from airflow_imap_provider.mail.mime_fields import MimeFields, mime_fields
from airflow_imap_provider.mail.structure import DEPTH_LIMIT, PARTS_LIMIT, Structure, read_structure

__all__ = ["RAW_LIMIT", "Entity", "RawMail", "mail_from_raw", "structured_by"]

RAW_LIMIT = 16 * 1024 * 1024
"""Bytes of a whole mail that are fetched and looked at, where the server does not tell its structure. It is held in
memory, by the triggerer too; in a longer one the attachments behind that are not seen, and a defect says so."""

PART_HEADER_LIMIT = 4 * 1024 * 1024
"""Bytes of a part's header that are looked at. What is no header may have no blank line in it and be as long as the
mail."""

FOLLOWED_LIMIT = PARTS_LIMIT - 2 * DEPTH_LIMIT
"""Parts that are told one by one. The rest of each multipart that is open then is told as one part."""

_HEADER_END = re.compile(rb"\r?\n(?=\r?\n)")
_LOOKS_LIKE_A_BOUNDARY = re.compile(rb"^--([^\s-][^\r\n]{0,997})\r?\n(?=content-)", re.IGNORECASE | re.MULTILINE)
_VISIBLE = re.compile(rb"\S")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


@dataclass(frozen=True)
class RawMail:
    """The parts of a mail.

    :param raw: the mail, in memory or in a file.
    :param structure: what a server would tell as BODYSTRUCTURE, as IMAPClient gives it.
    :param sections: by part number, where the content of a part begins and ends, undecoded.
    :param header: where its header ends.
    :param problems: what was wrong.
    """

    raw: bytes | mmap = field(repr=False)
    structure: tuple[Any, ...] = field(repr=False)
    sections: Mapping[str, tuple[int, int]]
    header: int
    problems: tuple[str, ...]

    @classmethod
    def of(cls, raw: bytes | mmap) -> RawMail:
        """Find the parts of a mail; never raises.

        :param raw: the mail, whole or cut off anywhere. In a file its lines must end as they do on the way.
        """
        if isinstance(raw, bytes) and b"\n" not in raw:
            raw = raw.replace(b"\r", b"\n")  # line ends as the Macintosh had them; no number of a byte changes
        finder = _Finder(raw)
        structure = finder.message(0, len(raw), "", 0)
        return cls(raw, structure, finder.sections, finder.body(0, len(raw))[0], tuple(finder.problems))

    def part(self, number: str) -> bytes:
        """Return the content of a part as it is transferred, like FETCH of ``BODY[number]``; empty if it is none."""
        begin, end = self.sections.get(number, (0, 0))
        return self.raw[begin:end]

    def pieces(self, number: str, size: int) -> Iterator[bytes]:
        """Yield the same in pieces of this many bytes."""
        begin, end = self.sections.get(number, (0, 0))
        for first in range(begin, end, size):
            yield self.raw[first : min(first + size, end)]


@dataclass(frozen=True)
class Entity:
    """A mail or part with its bytes as they are, for what is signed to the byte.

    :param raw: header and body.
    :param content_type: ``type/subtype`` in lower case.
    :param parameters: those of the type, by lower-case name.
    :param encoding: the transfer encoding in lower case.
    :param body: where the body begins.
    :param parts: of a multipart, its parts with their headers.
    """

    raw: bytes = field(repr=False)
    content_type: str
    parameters: Mapping[str, bytes]
    encoding: str
    body: int
    parts: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, raw: bytes) -> Entity:
        """Look at a mail or part, not into its parts; never raises."""
        finder = _Finder(raw)
        header_end, body = finder.body(0, len(raw))
        fields = mime_fields(raw[:header_end], b"text/plain")
        pairs = fields.parameters or ()
        spans = finder._spans(fields, body, len(raw)) if fields.type == b"multipart" else []
        return cls(
            raw=raw,
            content_type=f"{fields.type.decode('latin-1')}/{fields.subtype.decode('latin-1')}",
            parameters={
                name.decode("latin-1").lower(): value for name, value in zip(pairs[::2], pairs[1::2], strict=False)
            },
            encoding=fields.encoding.decode("latin-1"),
            body=body,
            parts=tuple(raw[first:last] for first, last in spans),
        )


def mail_from_raw(
    raw: bytes,
    *,
    conn_id: str = "",
    folder: str = "",
    uid: int = 0,
    uidvalidity: int = 0,
    code_page: str = "",
    headers: Iterable[str] = (),
) -> Mail:
    """Read a whole mail, with its text.

    It has no flags, and its date is taken for when it was received. The content of an attachment is
    ``decode_transfer(RawMail.of(raw).part(attachment.part), attachment.encoding)``.

    :param raw: the mail, whole or cut off anywhere.
    :param conn_id: the connection, :param folder: the folder, :param uid: the UID, :param uidvalidity: what it is valid
        for; for what is told of the mail only.
    :param code_page: charset for text that declares none or a wrong one; may be empty.
    :param headers: names of headers that are kept, besides those every mail is described by.
    """
    found = RawMail.of(raw)
    # The header counts from the first field on: an mbox file's line is none and is passed over.
    response: dict[bytes, Any] = {
        b"BODY[HEADER]": found.raw[: found.header],
        b"BODYSTRUCTURE": found.structure,
        b"RFC822.SIZE": len(raw),
    }
    mail = mail_from_fetch(
        response,
        conn_id=conn_id,
        folder=folder,
        uid=uid,
        uidvalidity=uidvalidity,
        code_page=code_page,
        headers=headers,
    )
    mail = replace(
        mail,
        attachments=_counted(mail.attachments),
        defects=listed_defects([*found.problems, *mail.defects]),
        structured=True,
    )
    return with_text(mail, _texts(mail, found), code_page)


def structured_by(mail: Mail, found: RawMail, code_page: str, *, text: bool, cut: bool = False) -> Mail:
    """Return a mail whose structure the server does not tell with what the whole of it shows.

    :param mail: as the server tells it.
    :param found: the parts of the whole.
    :param code_page: charset for text that declares none or a wrong one; may be empty.
    :param text: whether the mail's text is wanted.
    :param cut: whether only the first :data:`RAW_LIMIT` bytes were looked at.
    """
    structure: Structure = read_structure(found.structure, code_page)
    defects = [*mail.defects, "the attachments are told from the whole mail, for the server does not"]
    defects += [*found.problems, *structure.problems]
    if cut:
        defects.append(f"only the first {RAW_LIMIT} bytes of the mail are looked at")
    out = replace(
        mail,
        attachments=_counted(structure.attachments),
        text_parts=tuple(structure.text_parts),
        protection=tuple(structure.protection),
        defects=listed_defects(defects),
        structured=True,
    )
    return with_text(out, _texts(out, found), code_page) if text else out


def _counted(attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
    return tuple(replace(each, counted=True) for each in attachments)


def _texts(mail: Mail, found: RawMail) -> dict[bytes, bytes]:
    """Return what a server would answer to FETCH of the parts that hold the text."""
    return {f"BODY[{part.part}]<0>".encode("ascii"): found.part(part.part)[:TEXT_LIMIT] for part in mail.text_parts}


class _Finder:
    def __init__(self, raw: bytes | mmap) -> None:
        self.raw = raw
        self.sections: dict[str, tuple[int, int]] = {}
        self.problems: list[str] = []
        self.parts = 0

    def body(self, begin: int, end: int) -> tuple[int, int]:
        """Return where the header of a mail or part ends and where its body begins."""
        for blank in (b"\r\n", b"\n"):
            if self.raw[begin : min(begin + len(blank), end)] == blank:
                return begin, begin + len(blank)
        if match := _HEADER_END.search(self.raw, begin, end):
            line_end = match.end()
            behind = line_end + (2 if self.raw[line_end : line_end + 2] == b"\r\n" else 1)
            return line_end, min(behind, end)
        # Without a blank line all is header, or nothing is.
        return (end, end) if begin == 0 or _FIELD.match(self.raw, begin, end) else (begin, begin)

    def message(self, begin: int, end: int, number: str, depth: int) -> tuple[Any, ...]:
        """Describe a mail, whose parts are numbered below the number of the part that it is in."""
        header_end, body = self.body(begin, end)
        fields = self._fields(begin, header_end, b"text/plain")
        parts = self._multipart(fields, body, end, number, depth)
        return parts or self._single(fields, body, end, f"{number}.1" if number else "1", depth)

    def _part(self, begin: int, end: int, number: str, depth: int, default: bytes) -> tuple[Any, ...]:
        header_end, body = self.body(begin, end)
        fields = self._fields(begin, header_end, default)
        return self._multipart(fields, body, end, number, depth) or self._single(fields, body, end, number, depth)

    def _fields(self, begin: int, end: int, default: bytes) -> MimeFields:
        return mime_fields(self.raw[begin : min(end, begin + PART_HEADER_LIMIT)], default)

    def _multipart(self, fields: MimeFields, begin: int, end: int, number: str, depth: int) -> tuple[Any, ...] | None:
        """Describe a multipart; ``None`` for what is none, what has no parts, and what is too deep to follow."""
        if fields.type != b"multipart" or depth >= DEPTH_LIMIT:
            if fields.type == b"multipart":
                self._problem("multiparts are one within the other deeper than is looked at")
            return None
        spans = self._spans(fields, begin, end)
        if not spans:
            self._problem("a multipart without parts")
            return None
        self.sections.setdefault(number, (begin, end))
        default = b"message/rfc822" if fields.subtype == b"digest" else b"text/plain"
        children = []
        for count, (first, last) in enumerate(spans, 1):
            self.parts += 1
            if self.parts >= FOLLOWED_LIMIT:
                # The rest is one part, in which nothing is looked for.
                self._problem(f"more than {FOLLOWED_LIMIT} parts: the rest is one")
                rest = MimeFields(b"application", b"octet-stream", None, b"7bit", (b"attachment", None), None)
                children.append(self._single(rest, first, spans[-1][1], _below(number, count), depth))
                break
            children.append(self._part(first, last, _below(number, count), depth + 1, default))
        return (children, fields.subtype, fields.parameters, fields.disposition, None, None)

    def _spans(self, fields: MimeFields, begin: int, end: int) -> list[tuple[int, int]]:
        """Return where the parts of a multipart begin and end, header and all."""
        boundary = fields.boundary
        spans = self._between(boundary, begin, end) if boundary else []
        if spans:
            return spans
        guess = _LOOKS_LIKE_A_BOUNDARY.search(self.raw, begin, end)
        if guess is None:
            return []
        self._problem("a multipart has another boundary than it declares, or declares none")
        return self._between(guess[1].rstrip(), begin, end)

    def _between(self, boundary: bytes, begin: int, end: int) -> list[tuple[int, int]]:
        # That it begins with what it is looked for by, and not with "^", makes it ten times faster.
        line = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*\r?$", re.MULTILINE)
        spans: list[tuple[int, int]] = []
        opened = 0
        closed = False
        for match in line.finditer(self.raw, max(begin - 1, 0), end):
            if opened:
                # The line end before a boundary belongs to the boundary (RFC 2046, section 5.1.1).
                last = match.start()
                last -= last > opened and self.raw[last - 1 : last] == b"\r"
                spans.append((opened, max(last, opened)))
            closed = bool(match[1])
            opened = 0 if closed else min(match.end() + 1, end)
            if len(spans) > FOLLOWED_LIMIT:
                # More are not told one by one: the last one is all the rest.
                return [*spans, (spans[-1][1], end)]
        if opened and not closed:
            if _VISIBLE.search(self.raw, opened, end):
                spans.append((opened, end))
            self._problem("a multipart is not closed")
        return spans

    def _single(self, fields: MimeFields, begin: int, end: int, number: str, depth: int) -> tuple[Any, ...]:
        self.sections[number] = (begin, end)
        basic = (
            fields.type,
            fields.subtype,
            fields.parameters,
            fields.content_id,
            None,
            fields.encoding,
            end - begin,
        )
        behind = (None, fields.disposition, None, None)
        if fields.type == b"text":
            return (*basic, 0, *behind)
        is_mail = fields.type == b"message" and fields.subtype in (b"rfc822", b"global")
        if is_mail and fields.encoding not in (b"base64", b"quoted-printable") and depth < DEPTH_LIMIT:
            self.parts += 1
            if self.parts < FOLLOWED_LIMIT:
                return (*basic, None, self.message(begin, end, number, depth + 1), 0, *behind)
        return (*basic, *behind)

    def _problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _below(number: str, count: int) -> str:
    return f"{number}.{count}" if number else str(count)
