"""Reading what imaplib has collected of an answer: FETCH, SEARCH, ESEARCH and LIST responses.

IMAPClient's parser does the work; what is here keeps responses apart that belong to different mails, which IMAPClient
throws together. Pure data: no network. Errors are the parsers' own and are translated at the border.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from imapclient.imap_utf7 import decode
from imapclient.response_parser import parse_fetch_response

from airflow_imap_provider.transport.limits import MAX_LINE_BYTES

__all__ = ["parse_esearch", "parse_fetch", "parse_folders", "parse_search"]

logger = logging.getLogger(__name__)

_QUOTED = rb'"(?:[^"\\]|\\.)*"'
_LIST = re.compile(
    rb"\((?P<attributes>[^()]*)\) +(?:NIL|(?P<delimiter>%b)) +"
    rb"(?:(?P<quoted>%b)(?: .*)?|(?P<literal>\{\d+\+?\})|(?P<atom>[^\s\"].*?)(?: \(.*)?)" % (_QUOTED, _QUOTED),
    re.IGNORECASE | re.DOTALL,
)
"""A LIST response up to its name; RFC 5258 allows more behind that. Names that ought to be quoted are taken as they
are."""

_ALL = re.compile(rb"(?:^| )UID (?:.* )?ALL ((?:\d+(?::\d+)?)(?:,\d+(?::\d+)?)*)(?= |$)", re.IGNORECASE)


def parse_fetch(data: Sequence[Any], uids: Iterable[int]) -> dict[int, dict[bytes, Any]]:
    """FETCH responses by UID.

    :param data: imaplib's list: for each response a tuple for every literal in it, then the rest as bytes.
    :param uids: those that were asked for; responses for others are news of somebody else's changes.
    """
    asked = set(uids)
    found: dict[int, dict[bytes, Any]] = {}
    for response in _responses(data):
        # One at a time: sequence numbers shift when mails are expunged in the middle of an answer, and a response
        # without UID would be filed under a UID that happens to be its sequence number.
        for values in parse_fetch_response(response, normalise_times=False, uid_is_key=False).values():
            uid = values.pop(b"UID", None)
            if uid in asked:
                found.setdefault(uid, {}).update(values)
    return found


def _responses(data: Sequence[Any]) -> Iterator[list[Any]]:
    response: list[Any] = []
    for item in data:
        if item is None:
            continue
        response.append(item)
        if not isinstance(item, tuple):
            yield response
            response = []


def parse_search(lines: Iterable[Any]) -> list[int]:
    """The UIDs of SEARCH responses; an answer may have several, or end in ``(MODSEQ n)``."""
    uids: list[int] = []
    for line in lines:
        numbers, _, _ = (line or b"").partition(b"(")
        uids.extend(map(int, numbers.split()))
    return uids


def parse_esearch(lines: Iterable[Any]) -> list[int]:
    """The UIDs of ESEARCH responses, with which some servers answer a plain SEARCH (RFC 4731, RFC 9051 section 7.3.4).

    :raises ValueError: they are no UIDs, or more than a SEARCH response has room for: a range of all numbers is short.
    """
    uids: list[int] = []
    for line in lines:
        found = _ALL.search(line or b"")
        if not found and b" ALL " in (line or b"").upper():
            raise ValueError("an ESEARCH response has no UIDs")
        for item in found[1].split(b",") if found else ():
            first, _, last = item.partition(b":")
            low, high = sorted((int(first), int(last or first)))
            if high - low + len(uids) >= MAX_LINE_BYTES // 8:
                raise ValueError("an ESEARCH response has too many numbers")
            uids.extend(range(low, high + 1))
    return uids


def parse_folders(data: Sequence[Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, delimiter and attributes of each LIST response."""
    folders = []
    for response in _responses(data):
        first = response[0]
        line, literal = first if isinstance(first, tuple) else (first, b"")
        if not line:
            continue
        found = _LIST.fullmatch(line.rstrip())
        if found is None:
            # One folder with an odd name must not hide all others.
            logger.warning("A folder is left out, because the server lists it in a form that cannot be read: %r", line)
            continue
        raw = literal if found["literal"] else found["atom"] or _unquoted(found["quoted"])
        attributes = tuple(_text(attribute) for attribute in found["attributes"].split())
        folders.append((_name(raw), _text(_unquoted(found["delimiter"] or b'""')), attributes))
    return folders


def _unquoted(quoted: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", quoted[1:-1])


def _name(raw: bytes) -> str:
    try:
        decoded: str = decode(raw) if raw.isascii() else raw.decode("utf-8", "replace")
    except ValueError:
        # This is not modified UTF-7: some servers list what a client once sent raw.
        return raw.decode("ascii")
    return decoded


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
