"""Uuencode, which is no transfer encoding of MIME and is declared as one all the same (``x-uuencode``).

Decoded line by line with tolerance; nothing here raises. A uuencoded file in a text without such a declaration stays
in the text.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

__all__ = ["UUENCODINGS", "uudecoded"]

UUENCODINGS = frozenset({"x-uuencode", "uuencode", "x-uue", "uue", "x-uu"})
"""What senders write for it."""

BEFORE_LIMIT = 64 * 1024
"""Bytes in which the line is looked for that begins the file, and of a line. A line has 62."""

_BEGIN = re.compile(rb"begin [0-7]{3,4} \S")


def uudecoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decode what is uuencoded, piece by piece; what has no beginning of a file is yielded as it is.

    :param pieces: of any length.
    """
    before: bytes | None = b""
    inside = False
    for line in _lines(pieces):
        if inside:
            if line.rstrip() == b"end":
                inside = False
            elif decoded := _decoded(line.rstrip(b"\r\n")):
                yield decoded
        elif before is None:
            continue  # behind the file
        elif _BEGIN.match(line):
            before, inside = None, True
        elif len(before) > BEFORE_LIMIT:
            yield line
        else:
            before += line
            if len(before) > BEFORE_LIMIT:
                yield before
    if before is not None and len(before) <= BEFORE_LIMIT:
        yield before


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends; one that is too long in several."""
    rest = b""
    for piece in pieces:
        data, begin = rest + piece, 0
        while True:
            end = data.find(b"\n", begin, begin + BEFORE_LIMIT) + 1 or begin + BEFORE_LIMIT
            if end > len(data):
                break
            yield data[begin:end]
            begin = end
        rest = data[begin:]
    if rest:
        yield rest


def _decoded(line: bytes) -> bytes:
    if not line or not b" " <= line[:1] <= b"`":
        return b""
    length = (line[0] - 32) & 63
    # Some encoders leave blanks at the end away, others add a check digit.
    digits = line[1 : 1 + (length + 2) // 3 * 4]
    try:
        return binascii.a2b_uu(line[:1] + digits)
    except binascii.Error:
        return b""
