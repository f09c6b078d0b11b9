"""Content-Transfer-Encoding (RFC 2045, section 6), decoded with tolerance: of broken input what can be read of it.

Nothing here raises. The Q and B encodings of headers (RFC 2047) are the same two with small differences.
"""

from __future__ import annotations

import binascii

from airflow_imap_provider.mail.uuencoding import UUENCODINGS, uudecoded

__all__ = ["KNOWN_ENCODINGS", "decode_base64", "decode_quoted_printable", "decode_transfer"]

KNOWN_ENCODINGS = frozenset({"7bit", "8bit", "binary", "base64", "quoted-printable", *UUENCODINGS})
"""The encodings whose content can be told. The first three change nothing."""

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
    """Decode base64: foreign characters are skipped, padding may be missing, and what follows it is dropped."""
    body = data.partition(b"=")[0].translate(None, _NOT_BASE64)
    if len(body) % 4 == 1:
        body = body[:-1]  # six bits are no byte
    return binascii.a2b_base64(body + b"=" * (-len(body) % 4))


def decode_quoted_printable(data: bytes, *, header: bool = False) -> bytes:
    """Decode quoted-printable; what is not valid stays as it is.

    :param header: decode the Q encoding of encoded words, in which an underscore is a space.
    """
    return binascii.a2b_qp(data, header=header)
