"""Patterns of file names as people write them, and the ways of writing several that are none."""

from __future__ import annotations

import re

from airflow_imap_provider.errors import SettingsError

__all__ = ["check_pattern", "looks_like_several"]

_ALONE = re.compile(r".*[*?].*|.*\.\w{1,5}", re.DOTALL)
"""What is a pattern, or the name of a file, by itself."""


def looks_like_several(pattern: str, separators: str) -> str:
    """Return the sign by which a pattern seems to be several, such as the comma of ``*.csv,*.txt``; empty if none.

    :param separators: the signs to look for. One within brackets is meant: ``*[,]*``.
    """
    for sign in separators:
        parts = re.split(rf"{re.escape(sign)}(?!\])", pattern)
        if len(parts) > 1 and all(_ALONE.fullmatch(part.strip()) for part in parts):
            return sign
    return ""


def check_pattern(pattern: str, call: str, separators: str, remedy: str) -> None:
    """Refuse a pattern that would be compared as one, and seems to be meant as several.

    :param call: whose value it is, for the error.
    :param remedy: how several are written there.
    :raises SettingsError: if it seems so.
    """
    if sign := looks_like_several(pattern, separators):
        raise SettingsError(
            f"{call} cannot use {pattern!r:.200}: it is one pattern, of names with {sign!r} in them",
            stage="settings",
            remedy=f"{remedy} If {sign!r} is meant to be in the name, write it as '[{sign}]'.",
        )
