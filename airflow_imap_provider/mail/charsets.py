"""From bytes to text, whatever the sender declared: the right charset, the usual substitutes, never an exception.

The order is the declared charset, UTF-8, the connection's code page, replacement characters. All text of this package
passes through here, so all of it can be encoded again and stored as JSON.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import lru_cache

from airflow_imap_provider.connection.code_pages import usable_codec

__all__ = ["clean", "decode", "fold", "one_line"]

SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "big5": "cp950",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso2022_jp": "iso2022_jp_ext",
}
"""Charsets that senders declare when they use a larger one (as browsers assume, too: https://encoding.spec.whatwg.org/),
by Python's name for them."""

WRITTEN_OTHERWISE = {
    "cp-850": "cp850",
    "ks_c_5601-1987": "cp949",
    "utf8mb4": "utf-8",
    "windows-874": "cp874",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac_roman",
}
"""Names seen in mail that Python does not know."""

CHARSET_NAME_LIMIT = 40
"""Characters of a charset's name; the longest registered one in use has 20. More is an attempt at something."""

MARKS_LIMIT = 30
"""Combining marks in a row that are put in order together, as in Unicode's stream-safe text (UAX #15, section 13). No
language has so many; the time for them grows with the square of their number."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# The look-behind makes it start only where a run of blanks does: tried from each of them, it would take quadratic time.
_FOLD = re.compile(r"(?<![ \t])[ \t]*[\r\n\t\x0b\x0c\x85\u2028\u2029]+[ \t\r\n\x0b\x0c\x85\u2028\u2029]*")
# Runs that may hold too many marks: a mark is never a letter or digit, and the first one is U+0300.
_LONG_RUN = re.compile(rf"[^\w\x00-\u02ff]{{{MARKS_LIMIT + 1},}}")
_GRAPHEME_JOINER = "\N{COMBINING GRAPHEME JOINER}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


def decode(data: bytes, declared: str, code_page: str, *, cut: bool = False) -> tuple[str, str]:
    """Decode text of a mail.

    :param data: the bytes, after the transfer encoding.
    :param declared: the charset that the sender declares; empty if none.
    :param code_page: the charset of the connection for text that declares none or a wrong one; may be empty.
    :param cut: whether the data was cut off, so that an incomplete last character is no error.
    :returns: the text, cleaned, and what was wrong: empty if nothing was.
    """
    wanted, page = _codec(declared), _codec(code_page)
    problem = ""
    for name in dict.fromkeys((wanted, "utf-8", page)):
        if name is None:
            continue
        try:
            text = codecs.getincrementaldecoder(name)("strict").decode(data, final=not cut)
        except (ValueError, OverflowError):
            # ValueError besides UnicodeError: a few decoders raise it on broken input.
            continue
        if declared and name != wanted and not text.isascii():
            problem = f"declared as {_shown(declared)}, read as {name}"
        return clean(text.removeprefix(_BYTE_ORDER_MARK)), problem
    problem = f"declared as {_shown(declared)}, which does not fit" if declared else "in no known charset"
    return clean(data.decode(wanted or page or "utf-8", "replace")), problem


def clean(text: str) -> str:
    """Return the text without lone surrogates, NUL and other control characters but tab and line feed.

    Airflow stores payloads as strict JSON: one lone surrogate, common in broken mail, ends a triggerer.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(_REPLACEMENT, _SURROGATE.sub(_REPLACEMENT, text))


def one_line(text: str) -> str:
    """Return a header's value unfolded (RFC 5322, section 2.2.3), cleaned and without blanks around it.

    What a fold leaves behind becomes one space: many mailers fold with a tab that nobody means.
    """
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    return clean(_FOLD.sub(" ", text)).strip()


def fold(text: str, *, case: bool) -> str:
    """Return the text as it is compared: composed (NFC), and case-folded unless case matters.

    Without composing, an ``é`` typed in a DAG would differ from the one that a Mac writes as two characters.

    :param case: whether case matters.
    """
    if text.isascii():
        return text if case else text.lower()
    composed = unicodedata.normalize("NFC", _LONG_RUN.sub(_divided, text))
    return composed if case else unicodedata.normalize("NFC", composed.casefold())


def _divided(run: re.Match[str]) -> str:
    """Return a run of characters with a joiner, which ends the ordering, wherever there are too many marks in a row."""
    out: list[str] = []
    marks = 0
    for character in run[0]:
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks > MARKS_LIMIT:
            out.append(_GRAPHEME_JOINER)
            marks = 1
        out.append(character)
    return "".join(out)


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Return Python's name of the codec to use for a charset, ``None`` if there is none."""
    name = charset.strip(" \t'\";").lower()
    if not name or len(name) > CHARSET_NAME_LIMIT or not name.isascii() or not name.isprintable():
        return None
    found = usable_codec(WRITTEN_OTHERWISE.get(name, name))
    return usable_codec(SUPERSETS.get(found, found)) if found else None


def _shown(charset: str) -> str:
    return one_line(clean(charset))[:CHARSET_NAME_LIMIT]
