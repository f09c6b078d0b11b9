"""The fields of a header that tell what a part is: type, transfer encoding, disposition, content id.

Read with tolerance from the bytes as they are; nothing here raises. What the values mean is decided in ``structure``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["MimeFields", "mime_fields", "parameters_of"]

FIELD_LIMIT = 256 * 1024
"""Bytes of one header field of a part that are looked at: twice as many as 1,000 parameters need."""

BOUNDARY_LIMIT = 1_000
"""Bytes of a boundary. RFC 2046 allows 70, and a line has 998."""

_MIME_FIELD = re.compile(
    rb"^content-(type|transfer-encoding|disposition|id|description)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_TYPE = re.compile(rb"\s*([^\s/;(),\"]+)\s*/\s*([^\s;(),\"]+)")
_QUOTED_TOKEN = re.compile(rb"\s*\"?([^\s;(),\"]+)")
_PARAMETER = re.compile(rb';\s*([^\s=;"]{1,200})\s*=[ \t\r\n]*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class MimeFields:
    """What a part's header tells.

    :param type: in lower case, like the next: those of the default if none is declared that can be read.
    :param parameters: names and values in turn, as a server tells them; ``None`` if there are none.
    :param encoding: the transfer encoding, in lower case; ``7bit`` if none is declared.
    :param disposition: the word in lower case, and its parameters; ``None`` if there is none.
    :param content_id: as written; ``None`` if there is none.
    """

    type: bytes
    subtype: bytes
    parameters: tuple[bytes, ...] | None
    encoding: bytes
    disposition: tuple[Any, ...] | None
    content_id: bytes | None

    @property
    def boundary(self) -> bytes:
        """The boundary of a multipart; empty if none is declared."""
        return self._parameter(b"boundary").rstrip()[:BOUNDARY_LIMIT]

    @property
    def charset(self) -> str:
        """The charset that is declared, in lower case and without a comment behind it; empty if none is."""
        return b"".join(self._parameter(b"charset").lower().split()[:1]).decode("ascii", "replace")

    def _parameter(self, wanted: bytes) -> bytes:
        parameters = self.parameters or ()
        pairs = zip(parameters[::2], parameters[1::2], strict=False)
        return next((value for name, value in pairs if name.lower() == wanted), b"")


def mime_fields(header: bytes, default: bytes) -> MimeFields:
    """Read what a header tells.

    :param header: of a mail or part, or some lines of it.
    :param default: the type of what declares none.
    """
    found: dict[bytes, bytes] = {}
    for match in _MIME_FIELD.finditer(header):
        found.setdefault(match[1].lower(), match[2][:FIELD_LIMIT])
    declared = found.get(b"type", b"")
    kind = _TYPE.match(declared) or _TYPE.match(default)
    assert kind is not None  # every default is a type
    encoding = _QUOTED_TOKEN.match(found.get(b"transfer-encoding", b""))
    disposition = _QUOTED_TOKEN.match(found.get(b"disposition", b""))
    return MimeFields(
        type=kind[1].lower(),
        subtype=kind[2].lower(),
        parameters=parameters_of(declared),
        encoding=encoding[1].lower() if encoding else b"7bit",
        disposition=(disposition[1].lower(), parameters_of(found[b"disposition"])) if disposition else None,
        content_id=found[b"id"].strip() or None if b"id" in found else None,
    )


def parameters_of(value: bytes) -> tuple[bytes, ...] | None:
    """Return the parameters of a header's value, names and values in turn, as a server tells them; none is ``None``."""
    out: list[bytes] = []
    for match in _PARAMETER.finditer(value[:FIELD_LIMIT]):
        text = match[2].strip()
        if text.startswith(b'"'):
            text = _ESCAPED.sub(rb"\1", text[1:-1] if text.endswith(b'"') and len(text) > 1 else text[1:])
        out += (match[1], re.sub(rb"\r?\n", b"", text))
    return tuple(out) or None
