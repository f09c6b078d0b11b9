"""SASLprep (RFC 4013): the one form of a name or password that both sides of SCRAM compute with.

A string that it forbids is taken as it is, as most servers do with it too: refusing would lock out passwords that
contain an emoji, which the Unicode 3.2 of stringprep does not know.
"""

from __future__ import annotations

import stringprep
import unicodedata

__all__ = ["saslprep"]

_FORBIDDEN = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared string; the string itself if nothing is left of it or the profile forbids what is."""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    # The version of Unicode that stringprep is defined on: a later one would prepare some strings differently.
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(table(character) for character in prepared for table in _FORBIDDEN):
        return text
    return prepared if _directions_agree(prepared) else text


def _directions_agree(text: str) -> bool:
    """RFC 3454 section 6: right-to-left text has no left-to-right letters, and begins and ends right-to-left."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
