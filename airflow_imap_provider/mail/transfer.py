"""Content-Transfer-Encoding (RFC 2045, section 6), decoded with tolerance: of broken input what can be read of it.

Nothing here raises. The Q and B encodings of headers (RFC 2047) are the same two with small differences.
"""

from __future__ import annotations

import binascii
import re

from airflow_imap_provider.mail.uuencoding import UUENCODINGS, uudecoded

__all__ = ["KNOWN_ENCODINGS", "Base64Decoder", "decode_base64", "decode_quoted_printable", "decode_transfer"]

KNOWN_ENCODINGS = frozenset({"7bit", "8bit", "binary", "base64", "quoted-printable", *UUENCODINGS})
"""The encodings whose content can be told. The first three change nothing."""

LOOKED_AT = 1_000
"""Characters by which it is judged whether something is base64. A line has 76."""

_PADDING = re.compile(rb"[=\s]*")
_BODY = re.compile(rb"[A-Za-z0-9+/]{0,%d}" % LOOKED_AT)
_BLANKS = re.compile(rb"[ \t]{0,%d}" % LOOKED_AT)
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def decode_transfer(raw: bytes, encoding: str) -> bytes:
    """Return the content of a part.

    :param raw: the part as the server sent it, whole or cut off.
    :param encoding: its encoding as the mail names it; an unknown one is taken for none.
    """
    name = encoding.strip().lower()
    if name == "base64":
        return decode_base64(raw)
    if name == "quoted-printable":
        return decode_quoted_printable(raw)
    if name in UUENCODINGS:
        return b"".join(uudecoded([raw]))
    return raw


def decode_base64(data: bytes) -> bytes:
    """Decode base64: foreign characters are skipped; padding may be missing, and may stand between two pieces.

    What follows the padding and is no base64, such as the footer of a mailing list, is dropped.
    """
    return Base64Decoder().feed(data, last=True)


class Base64Decoder:
    """Decodes base64 piece by piece, in constant memory.

    Some programs encode a file in pieces, each with its padding, and put them one after the other. So what follows a
    padding is a piece if the rest of its line, or the next line with something on it, is base64 and nothing else.
    """

    def __init__(self) -> None:
        self._rest = b""  # what is not yet a group of four
        self._behind: bytes | None = None  # what follows a padding and is not yet enough to judge
        self._ended = False

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return what can be decoded by now.

        :param data: the next piece.
        :param last: whether nothing follows.
        """
        out: list[bytes] = []
        padded = self._behind is not None
        data, self._behind = (self._behind or b"") + data, None
        position = 0
        while not self._ended and (position < len(data) or last):
            if padded:
                position = _end(_PADDING, data, position)
                goes_on = _goes_on(data, position, last=last)
                if goes_on is None:
                    break
                padded, self._ended = False, not goes_on
                continue
            end = data.find(b"=", position)
            body = self._rest + data[position : end if end >= 0 else len(data)].translate(None, _NOT_BASE64)
            padded, complete = end >= 0, end >= 0 or last
            cut = len(body) if complete else len(body) - len(body) % 4
            out.append(_whole_bytes(body[:cut]))
            self._rest, position = body[cut:], end if padded else len(data)
            if not padded and last:
                break
        if padded and not self._ended:
            self._behind = data[position:]
        return b"".join(out)


def _whole_bytes(body: bytes) -> bytes:
    if len(body) % 4 == 1:
        body = body[:-1]  # six bits are no byte
    return binascii.a2b_base64(body + b"=" * (-len(body) % 4))


def _goes_on(data: bytes, position: int, *, last: bool) -> bool | None:
    """Tell whether base64 begins here, behind a padding; ``None`` if too little is known."""
    end = _end(_BODY, data, position)
    length = end - position
    if length == LOOKED_AT:
        return True
    if data[end : end + 1] == b"=":
        return length % 4 > 1 or (length > 0 and length % 4 == 0)
    behind = _end(_BLANKS, data, end)
    if behind == len(data) and not last and behind - end < LOOKED_AT:
        return None
    return length > 0 and length % 4 == 0 and data[behind : behind + 1] in (b"", b"\r", b"\n")


def _end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    """Return where something ends that may be empty."""
    match = pattern.match(data, position)
    return match.end() if match else position


def decode_quoted_printable(data: bytes, *, header: bool = False) -> bytes:
    """Decode quoted-printable; what is not valid stays as it is.

    :param header: decode the Q encoding of encoded words, in which an underscore is a space.
    """
    return binascii.a2b_qp(data, header=header)
