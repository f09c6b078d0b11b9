"""Whether a body structure can be that of a mail whose header and size are known. If not, the mail itself is looked at.

Servers leave out what they cannot parse, and Dovecot reads no MIME header without MIME-Version, as RFC 2045 (section 4)
allows. Scanners and old gateways write such mails, and their readers show the file that is in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_imap_provider.mail.mime_fields import mime_fields
from airflow_imap_provider.mail.structure import Leaf, Structure

__all__ = ["MIME_HEADERS", "contradiction"]

MIME_HEADERS = ("content-disposition", "content-transfer-encoding", "content-type")
"""Fields of a mail's header that the structure is compared with."""

UNTOLD = 64 * 1024
"""Octets by which a mail may be larger than its parts together: its header, those of the parts, the boundaries. A long
header has 20 KiB. What is hidden is as a rule an attachment, and larger."""

UNTOLD_SHARE = 4
"""And the part of the mail's size, a quarter, that may be missing besides: Exchange reckons the size."""

_CODED = (b"base64", b"quoted-printable")


def contradiction(header: Mapping[str, Sequence[bytes]], body: Structure, size: int) -> str:
    """Return what the structure of a mail does not fit, in words; empty if it may be right.

    :param header: raw values of :data:`MIME_HEADERS` by lower-case name.
    :param body: the structure.
    :param size: of the mail, in octets; 0 if unknown.
    """
    if size - body.octets > UNTOLD + size // UNTOLD_SHARE:
        return f"the mail has {size} bytes, the parts in its structure {body.octets}"
    if body.only is None:
        return ""
    lines = (name.encode("ascii") + b":" + header[name][0] for name in MIME_HEADERS if header.get(name))
    return _unlike(b"\n".join(lines), body.only)


def _unlike(header: bytes, part: Leaf) -> str:
    """Compare the header of a mail with its only part."""
    fields = mime_fields(header, b"text/plain")
    if fields.type == b"multipart":
        return "the header announces several parts, the structure has one"
    declared = f"{fields.type.decode('latin-1')}/{fields.subtype.decode('latin-1')}"
    if part.content_type == "text/plain" and declared != part.content_type:
        return f"the header says {declared}, the structure {part.content_type}"
    if fields.encoding in _CODED and part.encoding != fields.encoding.decode("ascii"):
        return f"the header says {fields.encoding.decode('ascii')}, the structure {part.encoding}"
    if fields.disposition and not part.disposition:
        return "the header has a disposition, the structure none"
    if part.charset in ("", "us-ascii") and fields.charset not in ("", "us-ascii", part.charset):
        return "the header has a charset, the structure none"
    return ""
