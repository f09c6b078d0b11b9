"""What the parts of a multipart/related (RFC 2387) are to their reader: its root, pictures shown in it, or files.

Mail programs make one of an HTML text and its pictures, and business software (SOAP with Attachments, ebXML, AS4) one
of an XML document and the files that belong to it. Only the pictures of an HTML text are nothing by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from airflow_imap_provider.mail.body_tree import DEPTH_LIMIT, at, children_of, disposition, word

__all__ = ["Role", "roles"]


class Role(Enum):
    """What a part is in the multipart that holds it."""

    PART = "part"
    """Nothing but its type counts: it is in another multipart, or it is the root."""
    SHOWN = "shown"
    """A picture that an HTML text can show by its Content-ID."""
    ENCLOSED = "enclosed"
    """It belongs to a root that is data, such as an XML document, and is a file whatever its type is."""


def roles(subtype: str, parameters: Sequence[tuple[bytes, bytes]], children: Sequence[Sequence[Any]]) -> list[Role]:
    """Return what each part of a multipart is.

    :param subtype: of the multipart.
    :param parameters: of its type.
    :param children: its parts, as a BODYSTRUCTURE has them.
    """
    if subtype != "related" or not children:
        return [Role.PART] * len(children)
    root = _root(parameters, children)
    shows = _has_html(children[root])
    other = Role.ENCLOSED if _is_data(children[root]) else Role.PART
    out = [Role.SHOWN if shows and _is_picture(child) and at(child, 3) else other for child in children]
    out[root] = Role.PART
    return out


def _root(parameters: Sequence[tuple[bytes, bytes]], children: Sequence[Sequence[Any]]) -> int:
    """Return the index of the root: the one that ``start`` names, else the first; but no picture has parts of its own.

    Servers do not tell the Content-ID of a multipart, so one is never found by ``start``.
    """
    start = next((_content_id(value) for name, value in parameters if name.lower() == b"start"), b"")
    for index, child in enumerate(children):
        if start and children_of(child) is None and _content_id(at(child, 3)) == start:
            return index
    return next((index for index, child in enumerate(children) if not _is_picture(child)), 0)


def _content_id(value: object) -> bytes:
    return value.strip(b"<> \t\r\n") if isinstance(value, bytes) else b""


def _is_picture(body: Sequence[Any]) -> bool:
    return children_of(body) is None and word(at(body, 0)) == "image"


def _is_data(body: Sequence[Any]) -> bool:
    """Tell whether a root is for programs. Messages of phones have SMIL, which people read, as some do XHTML."""
    kind, subtype = word(at(body, 0)), word(at(body, 1))
    if children_of(body) is not None or kind not in ("application", "text"):
        return False
    readable = "smil" in subtype or "xhtml" in subtype
    return not readable and ("xml" in subtype or subtype.startswith("edi"))


def _has_html(body: Sequence[Any], depth: int = 0) -> bool:
    """Tell whether a root is an HTML text, or has one as one of its forms. An attached one shows no pictures."""
    children = children_of(body)
    if children is not None:
        return depth < DEPTH_LIMIT and any(_has_html(child, depth + 1) for child in children)
    # Behind the eight fields of a text: MD5, and then the disposition (RFC 9051, section 7.5.2).
    return (word(at(body, 0)), word(at(body, 1))) == ("text", "html") and disposition(at(body, 9))[0] != "attachment"
