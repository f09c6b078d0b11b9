"""How a text is compared: equals, contains, starts with, ends with, glob, regular expression.

Comparison ignores case unless told otherwise (Unicode case folding: ``straße`` equals ``STRASSE``) and never cares in
which of Unicode's forms an accent was typed. Regular expressions are RE2's: their time is linear in the text, which a
stranger wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.charsets import fold

__all__ = ["compile_regex", "matcher"]

MATCHERS_KEPT = 1_024
"""Comparisons kept ready: some for each condition of each trigger in a process."""


@lru_cache(maxsize=MATCHERS_KEPT)
def matcher(op: str, value: str | tuple[str, ...], *, case: bool) -> Callable[[str], bool]:
    """Return a function that tells whether a text compares to the value.

    The text must be folded, by the same case; for ``regex``, which sees to case itself, with case.

    :param op: ``equals``, ``contains``, ``starts_with``, ``ends_with``, ``glob``, ``regex`` or ``one_of``.
    :param value: the text, pattern or regular expression given by the user; for ``one_of`` several texts.
    :param case: whether case matters.
    """
    if isinstance(value, tuple):
        accepted = frozenset(fold(each, case=case) for each in value)
        return accepted.__contains__
    if op == "regex":
        pattern = compile_regex(value, case=case)
        return lambda text: pattern.search(text) is not None
    wanted = _folded_glob(value) if op == "glob" and not case else fold(value, case=case)
    compare = _COMPARISONS[op]
    return lambda text: compare(text, wanted)


RANGE_LIMIT = 10_000
"""Characters of a range in brackets whose case is looked at one by one; only the ends of a larger one are folded."""

_BRACKETS = re.compile(r"\[(?P<not>!?)(?P<stuff>\]?[^\]]*)\]", re.DOTALL)
"""What fnmatch takes for a list of characters."""

_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda text, wanted: text == wanted,
    "contains": lambda text, wanted: wanted in text,
    "starts_with": lambda text, wanted: text.startswith(wanted),
    "ends_with": lambda text, wanted: text.endswith(wanted),
    "glob": fnmatchcase,
}


def _folded_glob(pattern: str) -> str:
    """Return a glob for folded texts. A range in brackets becomes what its characters are folded to.

    Folding its ends would do otherwise: of ``[A-_]`` came ``[a-_]``, in which nothing is.
    """
    out, position = "", 0
    for found in _BRACKETS.finditer(pattern):
        out += fold(pattern[position : found.start()], case=False) + _folded_brackets(found)
        position = found.end()
    return out + fold(pattern[position:], case=False)


def _folded_brackets(found: re.Match[str]) -> str:
    stuff, members = found["stuff"], set[str]()
    position = 0
    while position < len(stuff):
        first = last = stuff[position]
        if stuff[position + 1 : position + 2] == "-" and position + 2 < len(stuff):
            last = stuff[position + 2]
            position += 2
        position += 1
        if ord(last) - ord(first) > RANGE_LIMIT:
            return fold(found[0], case=False)
        for code in range(ord(first), ord(last) + 1):
            members.update(fold(chr(code), case=False))
    if not members:
        return found[0]
    # Where these three stand decides what they mean to fnmatch.
    written = "]" if "]" in members else ""
    plain = sorted(members - set("]!-"), reverse=True)
    runs: list[list[str]] = []
    for sign in plain:
        if runs and ord(runs[-1][-1]) - 1 == ord(sign):
            runs[-1].append(sign)
        else:
            runs.append([sign])
    written += "".join(run[0] if len(run) == 1 else f"{run[-1]}-{run[0]}" for run in runs)
    ends = [sign for sign in "!-" if sign in members]
    written += "".join(ends if written or found["not"] else reversed(ends))
    return f"[{found['not']}{written}]"


def compile_regex(pattern: str, *, case: bool) -> Any:
    """Compile a regular expression by RE2's syntax (https://github.com/google/re2/wiki/Syntax).

    It is composed (NFC) like the text that it looks into.

    :raises SettingsError: if it is none, with RE2's own words.
    """
    import re2

    options = re2.Options()
    options.case_sensitive = case
    options.log_errors = False  # the error says it; the log is not ours
    try:
        return re2.compile(fold(pattern, case=True), options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise SettingsError(
            f"{pattern!r} is no regular expression",
            stage="settings",
            reply=reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason),
            remedy="Its syntax is RE2's, which has no look-around and no backreferences.",
        ) from None
