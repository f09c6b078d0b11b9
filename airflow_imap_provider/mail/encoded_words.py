"""Header text with encoded words (RFC 2047) and MIME parameters (RFC 2231), decoded as tolerantly as mail needs it.

The standard library's ``decode_header`` raises on broken base64 and decodes each word alone, which breaks characters
that a mailer split over two words; its parameter decoding is quadratic in places. Nothing here raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from airflow_imap_provider.mail.charsets import decode, one_line
from airflow_imap_provider.mail.transfer import decode_base64, decode_quoted_printable

__all__ = ["ENCODED_WORD", "decode_parameters", "decode_words", "repair_words"]

ENCODED_WORD = re.compile(rb"=\?([^?]*)\?([BbQq])[^?]*\?([^?]*|[^?]*\?(?!=)[^\s?]*)\?=")
"""An encoded word. Blanks within it and a question mark within its text are against RFC 2047 and occur. It takes all
that servers take for one, so that what is none for us is none for them (``search`` builds on that)."""

CONTINUATIONS_LIMIT = 100
"""Pieces of one parameter (``name*0``, ``name*1``…) that are put together. 100 pieces of 60 characters hold any name
that a file system takes."""

PARAMETERS_LIMIT = 1_000
"""Parameters of one header that are looked at: ten times the longest name that is put together."""

_NOT_IN_CHARSETS = re.compile(rb"[^A-Za-z0-9_*.-]")


def decode_words(value: bytes, code_page: str, problems: list[str]) -> str:
    """Return the text of an unstructured header value (or of a display name), on one line.

    :param value: the raw value, still folded.
    :param code_page: charset for raw 8-bit text.
    :param problems: what was wrong is added here.
    """
    out: list[str] = []
    word: bytes = b""  # encoded words of one charset are joined before decoding: some mailers split characters
    word_charset = ""
    end = 0
    for match in ENCODED_WORD.finditer(value):
        between = value[end : match.start()]
        charset = match[1].partition(b"*")[0].decode("ascii", "replace")  # RFC 2231, section 5: a language may follow
        adjacent = end > 0 and not between.strip()
        if not (adjacent and charset.lower() == word_charset.lower()):
            _flush(word, word_charset, code_page, out, problems)
            word, word_charset = b"", charset
        if not adjacent:
            _flush(between, "", code_page, out, problems)
        word += _content(match)
        end = match.end()
    _flush(word, word_charset, code_page, out, problems)
    _flush(value[end:], "", code_page, out, problems)
    return one_line("".join(out))


def repair_words(value: bytes) -> bytes:
    """Return the value with each encoded word written as it should be, so that none holds a character with a meaning.

    A comma, a quote or a blank in an encoded word would otherwise take part in the syntax of an address list.
    """
    return ENCODED_WORD.sub(_repaired, value)


def _repaired(match: re.Match[bytes]) -> bytes:
    charset = _NOT_IN_CHARSETS.sub(b"", match[1])
    return b"=?%s?B?%s?=" % (charset, binascii.b2a_base64(_content(match), newline=False))


def _content(match: re.Match[bytes]) -> bytes:
    return decode_base64(match[3]) if match[2] in b"Bb" else decode_quoted_printable(match[3], header=True)


def _flush(data: bytes, charset: str, code_page: str, out: list[str], problems: list[str]) -> None:
    if not data:
        return
    text, problem = decode(data, charset, code_page)
    out.append(text)
    if problem:
        problems.append(problem)


def decode_parameters(parameters: Iterable[tuple[bytes, bytes]], code_page: str, problems: list[str]) -> dict[str, str]:
    """Decode MIME parameters: RFC 2231 continuations and charsets, and RFC 2047 words where they must not be.

    Where a parameter is given both ways, the RFC 2231 form wins (RFC 6266, appendix D, for the same reason).

    :param parameters: names and raw values as the server tells them.
    :param code_page: charset for raw 8-bit values.
    :param problems: what was wrong is added here.
    :returns: values by lower-case name.
    """
    plain: dict[str, bytes] = {}
    pieces: dict[str, dict[int, tuple[bool, bytes]]] = {}
    for count, (raw_name, value) in enumerate(parameters):
        if count >= PARAMETERS_LIMIT:
            problems.append(f"more than {PARAMETERS_LIMIT} parameters: the rest is not looked at")
            break
        name, star, rest = raw_name.decode("ascii", "replace").lower().strip().partition("*")
        if not star:
            plain.setdefault(name, value)
            continue
        number, _, _ = rest.partition("*")
        if number == "" or (number.isascii() and number.isdigit() and int(number[:4]) < CONTINUATIONS_LIMIT):
            encoded = raw_name.rstrip().endswith(b"*")
            pieces.setdefault(name, {}).setdefault(int(number[:4] or 0), (encoded, value))
    out = {name: decode_words(value, code_page, problems) for name, value in plain.items()}
    for name, numbered in pieces.items():
        out[name] = _extended(numbered, code_page, problems)
    return out


def _extended(numbered: Mapping[int, tuple[bool, bytes]], code_page: str, problems: list[str]) -> str:
    """Put the pieces of a parameter together and decode them (RFC 2231, section 4.1)."""
    if sorted(numbered) != list(range(len(numbered))):
        problems.append("a parameter lacks one of its pieces")
    charset = ""
    data = b""
    for number in sorted(numbered):
        encoded, value = numbered[number]
        if encoded and number == min(numbered) and value.count(b"'") >= 2:
            raw_charset, _, value = value.split(b"'", 2)
            charset = raw_charset.decode("ascii", "replace")
        data += unquote_to_bytes(value) if encoded else value
    if not charset and ENCODED_WORD.search(data):
        return decode_words(data, code_page, problems)
    text, problem = decode(data, charset, code_page)
    if problem:
        problems.append(problem)
    return one_line(text)
