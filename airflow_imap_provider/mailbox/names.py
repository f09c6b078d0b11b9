"""File names that are safe on every file system and in every object store, made from what senders write.

Whatever goes in, what comes out is one level of a path: not empty, no dots alone, nothing that Windows reserves, no
control or direction characters, nothing that is a template, and short enough. Nothing here looks at a file system.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Iterator

from airflow_imap_provider.errors import SettingsError

__all__ = ["NAME_BYTES", "checked_key", "numbered", "safe_name", "same_name", "typed_name"]

NAME_BYTES = 200
"""Bytes of a name in UTF-8. File systems take 255; the rest is for a number and for the temporary name."""

ENDING_BYTES = 20
"""Bytes of a file name's ending that stay when the name is cut: ``.csv.gz`` is what the next task goes by."""

_REPLACED = re.compile(r'[/\\:*?"<>|]')
"""Separators, what Windows does not allow, and with ``:`` also its streams (``a.txt:b``) and fsspec's ``::``."""

_TEMPLATE = re.compile(r"\{(?=[{%#])")
"""Where Jinja begins. Paths are handed on to other operators, and Airflow renders what ``expand_kwargs`` hands on."""

_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,199}")
"""What a mail's key is made of (:attr:`~airflow_imap_provider.mail.message.Mail.key`), without the means of a path."""

_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])", re.IGNORECASE)
"""Device names, with whatever ending (Microsoft, "Naming Files, Paths, and Namespaces")."""

_ENDINGS = {"text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "message/rfc822": ".eml"}
"""For types of which the standard library's table gives an ending that nobody expects, or none."""


def safe_name(name: str, fallback: str) -> str:
    """Return a name that can be used as a file's.

    :param name: as a sender has written it.
    :param fallback: safe itself; taken if nothing is left of the name.
    """
    text = "".join(_visible(character) for character in unicodedata.normalize("NFC", name))
    text = _TEMPLATE.sub("_", _REPLACED.sub("_", " ".join(text.split()))).strip()
    # Windows drops dots and blanks at the end, and then it is another name. A dot, a dash or a tilde at the beginning
    # hides a file, makes it an option, or somebody's home.
    text = text.rstrip(". ")
    if not text.strip("._ "):
        text = fallback
    if text[0] in ".-~":
        text = f"_{text[1:]}" if len(text) > 1 else fallback
    if _RESERVED.fullmatch(text.split(".", 1)[0].rstrip()):
        text = f"_{text}"
    return _cut(text, NAME_BYTES)


def checked_key(key: object) -> str:
    """Return a mail's key, which names folders and files.

    :raises SettingsError: for what is none. A mail may come from anywhere, such as a run's ``conf``.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise SettingsError(
            f"key={key!r:.80} of a mail; the key that the trigger, the operators and the hook return is accepted: "
            "letters, digits, single dots, - and _.",
            stage="settings",
        )
    return key


def typed_name(stem: str, content_type: str) -> str:
    """Return a name for what has none, with the ending of its type."""
    ending = _ENDINGS.get(content_type)
    if ending is None:
        # Not the machine's own table: the same mail has the same names everywhere.
        ending = mimetypes.MimeTypes(filenames=()).guess_extension(content_type) or ".bin"
    return f"{stem}{ending}"


def same_name(name: str) -> str:
    """Return what two names have in common that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def numbered(name: str) -> Iterator[str]:
    """Yield the name, then ``name (2)``, ``name (3)`` and so on, the number before its ending, for ever."""
    stem, ending = _split(name)
    yield name
    number = 2
    while True:
        yield f"{stem} ({number}){ending}"
        number += 1


def _visible(character: str) -> str:
    """Return the character, a blank for a line break or tab, or nothing for what is not to be seen."""
    if character in "\t\r\n\v\f\u2028\u2029\x85":
        return " "
    # Cc control, Cf format (directions, zero width), Cs surrogates, Co private use, Cn unassigned
    return "" if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"} else character


def _split(name: str) -> tuple[str, str]:
    """Return the stem and the ending, of which ``.tar.gz`` is one."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem or len(ending.encode()) >= ENDING_BYTES or " " in ending:
        return name, ""
    inner, inner_dot, before = stem.rpartition(".")
    if inner and inner_dot and before.lower() in {"tar", "csv", "json", "xml", "txt"}:
        return inner, f".{before}.{ending}"
    return stem, f".{ending}"


def _cut(name: str, most: int) -> str:
    if len(name.encode()) <= most:
        return name
    stem, ending = _split(name)
    kept = stem.encode()[: most - len(ending.encode())].decode("utf-8", "ignore")
    return f"{kept.rstrip('. ')}{ending}"
