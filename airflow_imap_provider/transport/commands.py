"""What a session sends: UID sets, SEARCH criteria, flags and folder names, checked and written as RFC 9051 wants them.

Pure text: no network. Whatever comes from outside is either written so that it can only be a value, or refused; a line
break in a search value would be a command of its own (IMAPClient issue 657).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from airflow_imap_provider.errors import SettingsError

__all__ = [
    "OVERHEAD",
    "Literal",
    "check_folder",
    "check_section",
    "flag_list",
    "item_list",
    "quoted",
    "search_pieces",
    "uid_sets",
]

OVERHEAD = 40
"""Bytes of a command line besides its set and arguments: tag, words, blanks, line end."""

LARGEST_UID = 2**32 - 1
"""UIDs are 32-bit numbers (RFC 9051 section 2.3.1.1)."""

_CHARSET = "UTF-8"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_VALUES_AFTER = {
    **dict.fromkeys(("BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO", "X-GM-RAW", "X-GM-LABELS"), 1),
    "HEADER": 2,
}
"""Search keys whose next items are strings, not keys: quoted even where they look like one."""
_BARE = re.compile(r"[A-Za-z0-9$_.+-]+")
_SEQUENCE = re.compile(r"(?:\d+|\*)(?::(?:\d+|\*))?(?:,(?:\d+|\*)(?::(?:\d+|\*))?)*")
_FORBIDDEN = re.compile(r"[\r\n\x00]")
_QUOTABLE = re.compile(r"[\x20-\x7e\t]*")
_ITEM = re.compile(r"[\x20-\x7e]+")
_SECTION = re.compile(r"(?:[1-9]\d*(?:\.[1-9]\d*)*(?:\.MIME)?)?|HEADER")
_FLAG = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|~}]+")


@dataclass(frozen=True)
class Literal:
    """A string that is sent by its length, because it has characters beyond ASCII."""

    value: bytes


def uid_sets(uids: Iterable[int], room: int) -> Iterator[tuple[str, list[int]]]:
    """UIDs as sets in the protocol's form, ranges compressed: ``1:4,7``.

    :param uids: in any order, repeated or not.
    :param room: the most characters that a set may have.
    :returns: each set with the UIDs in it; together all of them, ascending.
    :raises SettingsError: a number that is no UID.
    """
    text: list[str] = []
    members: list[int] = []
    length = 0
    for first, last in _runs(uids):
        item = str(first) if first == last else f"{first}:{last}"
        if text and length + 1 + len(item) > room:
            yield ",".join(text), members
            text, members, length = [], [], 0
        text.append(item)
        members.extend(range(first, last + 1))
        length += 1 + len(item)
    if text:
        yield ",".join(text), members


def _runs(uids: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = 0
    for uid in sorted(set(uids)):
        if not 1 <= uid <= LARGEST_UID:
            raise SettingsError(f"{uid} is no UID.")
        if first and uid == last + 1:
            last = uid
            continue
        if first:
            yield first, last
        first = last = uid
    if first:
        yield first, last


def search_pieces(criteria: Sequence[object], charset: str | None = None) -> list[str | Literal]:
    """SEARCH criteria as pieces of a command line.

    :param criteria: a list as IMAPClient takes it: keys and values one after the other, lists for parentheses, numbers,
        dates.
    :param charset: the encoding of values beyond ASCII; UTF-8 when left out, and not named if nothing needs it.
    :returns: text to be sent as it is, and literals; blanks included.
    :raises SettingsError: nothing to search for, or a value with CR, LF or NUL, or one that the charset does not have.
    """
    if charset is not None and not _BARE.fullmatch(charset):
        raise SettingsError(f"{charset!r} cannot be the name of a charset.")
    pieces = _pieces(criteria, charset or _CHARSET)
    if charset is None and not any(isinstance(piece, Literal) for piece in pieces):
        return pieces
    return [f"CHARSET {charset or _CHARSET} ", *pieces]


def _pieces(criteria: Sequence[object], charset: str) -> list[str | Literal]:
    if isinstance(criteria, (str, bytes)) or not criteria:
        raise SettingsError("search criteria are a list with at least one item.")
    pieces: list[str | Literal] = []
    values = 0
    previous = ""
    for number, item in enumerate(criteria):
        if number:
            pieces.append(" ")
        if isinstance(item, (list, tuple)):
            pieces += ["(", *_pieces(item, charset), ")"]
            previous = ""
            continue
        text = _text(item)
        if values:
            values -= 1
            pieces.append(_string(text, charset))
        elif _BARE.fullmatch(text) or (_SEQUENCE.fullmatch(text) and previous in ("", "UID", "NOT")):
            pieces.append(text)
            values = _VALUES_AFTER.get(text.upper(), 0)
        else:
            pieces.append(_string(text, charset))
        previous = text.upper()
    return pieces


def _text(item: object) -> str:
    if isinstance(item, date):
        return f"{item.day:02d}-{_MONTHS[item.month - 1]}-{item.year:04d}"
    text = item.decode("ascii") if isinstance(item, bytes) and item.isascii() else item
    if isinstance(text, bytes) or not isinstance(text, (str, int)):
        raise SettingsError(f"{item!r} cannot be searched for: give text, a number, a date or a list.")
    text = str(text)
    if _FORBIDDEN.search(text):
        raise SettingsError(f"{text!r} cannot be searched for: it contains a line break or NUL.")
    return text


def _string(text: str, charset: str) -> str | Literal:
    if _QUOTABLE.fullmatch(text):
        return quoted(text)
    try:
        return Literal(text.encode(charset))
    except (UnicodeEncodeError, LookupError):
        raise SettingsError(f"{text!r} cannot be searched for in {charset}: give another charset.") from None


def quoted(text: str) -> str:
    """A quoted string (RFC 9051 section 4.3); *text* has no line break and is ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def flag_list(flags: Sequence[str]) -> str:
    """Flags and keywords in the protocol's form.

    :raises SettingsError: none, or one that cannot be a flag.
    """
    if isinstance(flags, str) or not flags:
        raise SettingsError("flags are a list with at least one item.")
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise SettingsError(
                f"{flag!r} cannot be a flag or keyword.",
                remedy=r'Use letters, digits and - _ . $, with \ before the standard ones only: "\Seen", "$Done".',
            )
    return f"({' '.join(flags)})"


def item_list(items: Sequence[str]) -> str:
    """FETCH items in the protocol's form.

    :raises SettingsError: none, or one with characters that no item has.
    """
    if isinstance(items, str) or not items:
        raise SettingsError("FETCH items are a list with at least one item.")
    for item in items:
        if not _ITEM.fullmatch(item):
            raise SettingsError(f"{item!r} cannot be fetched.")
    return f"({' '.join(items)})"


def check_section(section: str) -> str:
    """A section of a mail that FETCH can name: a part's number, or nothing for all of it.

    :raises SettingsError: it is something else.
    """
    if not _SECTION.fullmatch(section):
        raise SettingsError(
            f"{section!r} is no part of a mail.",
            stage="FETCH",
            remedy="A part is named like 2 or 1.3, the whole mail ''.",
        )
    return section


def check_folder(folder: str) -> str:
    """The folder's name, if a command can carry it.

    :raises SettingsError: it is empty, or has CR, LF or NUL.
    """
    if not folder or _FORBIDDEN.search(folder):
        raise SettingsError(
            f"{folder!r} cannot be the name of a folder.",
            stage="folder",
            remedy="Give a name without line breaks, such as INBOX.",
        )
    return folder
