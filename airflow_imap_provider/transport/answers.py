"""Reading what imaplib has collected of an answer: FETCH, SEARCH and LIST responses.

IMAPClient's parser does the work; what is here keeps responses apart that belong to different mails, which IMAPClient
throws together. Pure data: no network. Errors are the parsers' own and are translated at the border.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from imapclient.imap_utf7 import decode
from imapclient.response_parser import parse_fetch_response, parse_response

__all__ = ["parse_fetch", "parse_folders", "parse_search"]


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


def parse_folders(data: Sequence[Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, delimiter and attributes of each LIST response."""
    folders = []
    for response in _responses(data):
        if response == [b""]:
            continue
        attributes, delimiter, name = parse_response(response)[:3]
        folders.append((_name(name), _text(delimiter), tuple(_text(attribute) for attribute in attributes)))
    return folders


def _name(name: Any) -> str:
    # The parser takes a name of digits for a number.
    raw = str(name).encode("ascii") if isinstance(name, int) else name
    try:
        decoded: str = decode(raw) if raw.isascii() else raw.decode("utf-8", "replace")
    except ValueError:
        # This is not modified UTF-7: some servers list what a client once sent raw.
        return raw.decode("ascii")
    return decoded


def _text(value: Any) -> str:
    return "" if value is None else (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
