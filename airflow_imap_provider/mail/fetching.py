"""From a server's FETCH answer to a :class:`~airflow_imap_provider.mail.message.Mail`, whatever the answer holds.

Only header fields and the body structure are read, not ENVELOPE: servers build that one each in their own way, and
break on what senders write. Nothing here raises because of a mail's content: what is wrong is listed in ``defects``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_imap_provider.mail.addresses import ADDRESSES_LIMIT, parse_addresses
from airflow_imap_provider.mail.authentication import HEADERS as AUTHENTICATION_HEADERS
from airflow_imap_provider.mail.authentication import read_authentication
from airflow_imap_provider.mail.charsets import decode, one_line
from airflow_imap_provider.mail.encoded_words import decode_words
from airflow_imap_provider.mail.flowed import unflowed
from airflow_imap_provider.mail.header_block import FIELDS_LIMIT, HEADER_LIMIT, check_header_name, header_fields
from airflow_imap_provider.mail.html_text import html_to_text
from airflow_imap_provider.mail.message import Address, Mail, TextPart
from airflow_imap_provider.mail.plausibility import MIME_HEADERS, contradiction
from airflow_imap_provider.mail.structure import is_structure, read_structure
from airflow_imap_provider.mail.transfer import KNOWN_ENCODINGS, decode_transfer

__all__ = [
    "TEXT_LIMIT",
    "fetch_items",
    "header_of",
    "lacks_text",
    "listed_defects",
    "mail_from_fetch",
    "text_items",
    "with_text",
]

TEXT_LIMIT = 256 * 1024
"""Octets of a text part that are fetched and looked at. A long newsletter has 100 KiB; a log pasted into a mail may
have megabytes, and what a condition looks for is not at its end."""

VALUE_LIMIT = 16 * 1024
"""Characters kept of one header's value. References of a long thread have 8,000."""

VALUES_LIMIT = 50
"""Values kept of one header: more Received or Authentication-Results fields than any way through servers makes."""

MESSAGE_ID_LIMIT = 998
"""Characters kept of a Message-ID: the longest line that RFC 5322 allows."""

DATE_LIMIT = 100
"""Characters of a Date header that are looked at; the standard library's parser is not made for megabytes."""

FLAGS_LIMIT = 200
"""Flags kept of a mail. Cyrus allows 100 keywords in a folder."""

DEFECTS_LIMIT = 20
"""Defects kept of a mail. A broken one tends to have the same many times."""

DEFECT_LENGTH = 150
"""Characters of a defect."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
"""Stands for the unknown time of a mail that has neither INTERNALDATE nor Date."""

_WITHOUT_WIDTH = "\N{COMBINING GRAPHEME JOINER}\N{HANGUL FILLER}\N{BRAILLE PATTERN BLANK}"
"""Characters that show nothing and that Unicode puts among the letters and signs."""

_UUENCODED = re.compile(r"^begin [0-7]{3,4} \S", re.MULTILINE)
_YENCODED = re.compile(r"^=ybegin [a-z]", re.MULTILINE)

_STANDARD_HEADERS = ("cc", "date", "from", "message-id", "reply-to", "subject", "to")


def fetch_items(headers: Iterable[str]) -> list[str]:
    """Return the items to FETCH for :func:`mail_from_fetch`. None of them sets a flag.

    The session should give INTERNALDATE with its time zone (IMAPClient: ``normalise_times = False``).

    :param headers: names of the headers that are needed besides those every mail is described by.
    :raises SettingsError: if one of them cannot be the name of a header.
    """
    names = sorted({*_STANDARD_HEADERS, *MIME_HEADERS, *(check_header_name(name) for name in headers)})
    fields = " ".join(name.upper() for name in names)
    return ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODYSTRUCTURE", f"BODY.PEEK[HEADER.FIELDS ({fields})]"]


def mail_from_fetch(
    response: Mapping[bytes, Any],
    *,
    conn_id: str,
    folder: str,
    uid: int,
    uidvalidity: int,
    code_page: str,
    headers: Iterable[str] = (),
) -> Mail:
    """Read a mail's answer to FETCH; any field of it may be missing or broken.

    :param response: one mail's answer as IMAPClient parses it. INTERNALDATE should be aware; a naive one is taken as
        UTC.
    :param conn_id: the connection, :param folder: the folder, :param uidvalidity: its UIDVALIDITY.
    :param uid: the mail's UID.
    :param code_page: charset for header text that declares none or a wrong one; may be empty.
    :param headers: the names given to :func:`fetch_items`; other headers are not kept.
    """
    defects: list[str] = []
    fields, cut = _header_fields(response, defects)
    raw: dict[str, list[bytes]] = {}
    for name, value in fields:
        raw.setdefault(name, []).append(value)
    names = {*_STANDARD_HEADERS, *(name.lower() for name in headers)}
    values = {name: _decoded(name, raw[name], code_page, defects) for name in sorted(names & raw.keys())}
    date = _date(raw, defects)
    size = response.get(b"RFC822.SIZE")
    structure: Any = response.get(b"BODYSTRUCTURE")
    body = read_structure(structure, code_page)
    structured = is_structure(structure) and not body.hollow
    if structured and (problem := contradiction(raw, body, size if isinstance(size, int) else 0)):
        structured = False
        body.problems.append(problem)
    defects += body.problems
    return Mail(
        conn_id=conn_id,
        folder=folder,
        uid=uid,
        uidvalidity=uidvalidity,
        message_id=_first(values, "message-id")[:MESSAGE_ID_LIMIT],
        subject=_first(values, "subject"),
        from_=_authors(raw, code_page, defects, cut=cut),
        to=_addresses("to", raw, code_page, defects),
        cc=_addresses("cc", raw, code_page, defects),
        reply_to=_addresses("reply-to", raw, code_page, defects),
        date=date,
        received=_received(response.get(b"INTERNALDATE"), date, defects),
        size=size if isinstance(size, int) and size > 0 else 0,
        flags=_flags(response.get(b"FLAGS")),
        headers=values,
        attachments=tuple(body.attachments),
        text_parts=tuple(body.text_parts),
        text=None,
        defects=listed_defects(defects),
        protection=tuple(body.protection),
        authentication=read_authentication(fields) if names.issuperset(AUTHENTICATION_HEADERS) else {},
        structured=structured,
    )


def text_items(mail: Mail) -> list[str]:
    """Return the items to FETCH for :func:`with_text`: the beginnings of the parts that hold the text."""
    return [f"BODY.PEEK[{part.part}]<0.{TEXT_LIMIT}>" for part in mail.text_parts]


def lacks_text(mail: Mail, response: Mapping[bytes, Any]) -> bool:
    """Tell whether a text is missing in the answer, or empty, of which the server has told that it is not.

    :param response: as for :func:`with_text`.
    """
    return any(part.octets and not _given(part, response) for part in mail.text_parts)


def with_text(mail: Mail, response: Mapping[bytes, Any], code_page: str) -> Mail:
    """Return the mail with its text, which is never ``None`` then.

    :param mail: from :func:`mail_from_fetch`.
    :param response: its answer to FETCH of :func:`text_items`.
    :param code_page: charset for text that declares none or a wrong one; may be empty.
    """
    defects = list(mail.defects)
    texts: dict[str, str] = {}
    for part in mail.text_parts:
        data = _given(part, response)
        if data is not None:
            texts[part.part] = _text(part, data, code_page, defects)
        elif part.octets:
            defects.append(f"part {part.part}: the server gives no text")
    for part in mail.text_parts:
        if part.instead_of and any(not _is_blank(texts.get(each, "")) for each in part.instead_of):
            texts.pop(part.part, None)
        elif part.part in texts:
            # If both are blank, the text is.
            for each in part.instead_of:
                texts.pop(each, None)
    return replace(mail, text="\n".join(texts.values()), defects=listed_defects(defects))


def _given(part: TextPart, response: Mapping[bytes, Any]) -> bytes | None:
    wanted = f"BODY[{part.part}]".encode("ascii")
    data = next((value for key, value in response.items() if key.partition(b"<")[0].upper() == wanted), None)
    if isinstance(data, int):
        return str(data).encode("ascii")  # IMAPClient's reading of a body that is a number
    return data if isinstance(data, bytes) else None


def _is_blank(text: str) -> bool:
    """Tell whether there is nothing to read: blanks of all kinds, and characters without width."""
    return all(unicodedata.category(character)[0] in "ZC" or character in _WITHOUT_WIDTH for character in text)


def _text(part: TextPart, data: bytes, code_page: str, defects: list[str]) -> str:
    cut = len(data) >= TEXT_LIMIT
    if cut:
        defects.append(f"part {part.part}: only the first {TEXT_LIMIT} octets of the text are looked at")
        data = data[:TEXT_LIMIT]
    if part.encoding not in KNOWN_ENCODINGS:
        defects.append(f"part {part.part}: unknown transfer encoding {part.encoding}")
    text, problem = decode(decode_transfer(data, part.encoding), part.charset, code_page, cut=cut)
    if problem:
        defects.append(f"part {part.part}: {problem}")
    if _UUENCODED.search(text) or _YENCODED.search(text):
        defects.append(f"part {part.part}: the text holds a uuencoded or yEnc file, which stays in the text")
    if part.content_type == "text/html":
        return html_to_text(text)
    return unflowed(text, delete_space=part.delete_space) if part.flowed else text


def header_of(response: Mapping[bytes, Any]) -> bytes | None:
    """Return the header block, whose name in the answer repeats the fields in the server's own spelling and order.

    :returns: ``None`` if the server gives none, which it never does of a mail that it can read.
    """
    for key, value in response.items():
        if key.upper().startswith((b"BODY[HEADER", b"RFC822.HEADER")) and isinstance(value, bytes):
            return value
    return None


def _header_fields(response: Mapping[bytes, Any], defects: list[str]) -> tuple[list[tuple[str, bytes]], bool]:
    """Return the header's fields, and whether there may be more."""
    block = header_of(response)
    if block is None:
        defects.append("the server gives no header")
        return [], False
    problems: list[str] = []
    fields = header_fields(block, problems)
    defects += problems
    return fields, len(block) > HEADER_LIMIT or len(fields) >= FIELDS_LIMIT


def _decoded(name: str, raw: list[bytes], code_page: str, defects: list[str]) -> tuple[str, ...]:
    problems: list[str] = []
    values = tuple(decode_words(value, code_page, problems)[:VALUE_LIMIT] for value in raw[:VALUES_LIMIT])
    if name not in ("from", "to", "cc", "reply-to"):  # theirs are told once, by the addresses
        defects += [f"{name}: {problem}" for problem in problems]
    return values


def _addresses(name: str, raw: Mapping[str, list[bytes]], code_page: str, defects: list[str]) -> tuple[Address, ...]:
    values = raw.get(name, [])
    problems = ["the header is there more than once"] if len(values) > 1 else []
    found = tuple(address for value in values[:VALUES_LIMIT] for address in parse_addresses(value, code_page, problems))
    defects += [f"{name}: {problem}" for problem in problems]
    return found


def _authors(raw: Mapping[str, list[bytes]], code_page: str, defects: list[str], *, cut: bool) -> tuple[Address, ...]:
    """Return the authors. If there may be more than are looked at, the last one is nobody.

    No list of senders has him and no certificate names him, so a stranger behind 2,000 others is not overlooked.
    """
    found = _addresses("from", raw, code_page, defects)
    if cut or len(raw.get("from", ())) > VALUES_LIMIT or len(found) >= ADDRESSES_LIMIT:
        return (*found, Address("…", ""))
    return found


def _first(values: Mapping[str, tuple[str, ...]], name: str) -> str:
    return next(iter(values.get(name, ())), "")


def _date(raw: Mapping[str, list[bytes]], defects: list[str]) -> datetime | None:
    """Return what the Date header says, with its offset."""
    from email.utils import parsedate_tz

    if "date" not in raw:
        return None
    text = one_line(raw["date"][0][:DATE_LIMIT].decode("ascii", "replace"))
    try:
        parts = parsedate_tz(text)
        if parts is not None:
            offset = timedelta(seconds=parts[9] or 0)
            date = datetime(*parts[:6], tzinfo=timezone(offset))
            date.astimezone(timezone.utc)  # within what can be compared and stored
            return date
    except (ValueError, OverflowError, IndexError, TypeError):
        # The parser of the standard library raises all of these on some texts.
        parts = None
    defects.append("date: not a date")
    return None


def _received(internal: object, date: datetime | None, defects: list[str]) -> datetime:
    if isinstance(internal, datetime):
        try:
            aware = internal if internal.utcoffset() is not None else internal.replace(tzinfo=timezone.utc)
            return aware.astimezone(timezone.utc)
        except OverflowError:
            defects.append("received: the server's date is out of range")
    if date is not None:
        defects.append("received: the server tells no date, so it is taken from the Date header")
        return date.astimezone(timezone.utc)
    defects.append("received: neither the server nor the Date header tells a date")
    return EPOCH


def _flags(value: object) -> tuple[str, ...]:
    if not isinstance(value, (tuple, list)):
        return ()
    texts = [flag.decode("utf-8", "replace") if isinstance(flag, bytes) else str(flag) for flag in value[:FLAGS_LIMIT]]
    # \Recent tells something about the session that asks, not about the mail (RFC 3501, section 2.3.2).
    return tuple(one_line(text) for text in texts if text.lower() != r"\recent")


def listed_defects(defects: Iterable[str]) -> tuple[str, ...]:
    """Return the defects without repetition, bounded."""
    distinct = list(dict.fromkeys(one_line(defect)[:DEFECT_LENGTH] for defect in defects))
    if len(distinct) > DEFECTS_LIMIT:
        distinct[DEFECTS_LIMIT - 1 :] = [f"and {len(distinct) - DEFECTS_LIMIT + 1} more"]
    return tuple(distinct)
