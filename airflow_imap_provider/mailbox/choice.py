"""What of a mail is to be saved and how: plain data, checked when it is made, in one form for actions and operators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.charsets import fold
from airflow_imap_provider.mail.matching import matcher
from airflow_imap_provider.mail.message import Attachment
from airflow_imap_provider.mail.name_patterns import check_pattern
from airflow_imap_provider.mail.templates import templated

__all__ = ["Choice", "parse_size"]

WHAT = ("attachments", "message", "both")
SIZES = ("and", "or")
ON_EXISTS = ("number", "overwrite", "fail")

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _UNITS[f"{_letter}b"] = 1000**_power
    _UNITS[f"{_letter}ib"] = 1024**_power
_SIZE = re.compile(r"\s*(\d{1,16}(?:\.\d{1,16})?)\s*([A-Za-z]*)\s*")

LARGEST_SIZE = 2**53
"""Bytes; the largest number that every reader of JSON keeps exactly. It is eight petabytes."""


def parse_size(size: str | int, parameter: str) -> int | None:
    """Return a size in bytes, ``None`` for an empty text.

    :param size: bytes, or a number with a unit: B, KB, MB, GB, TB (powers of 1,000), KiB, MiB, GiB, TiB (of 1,024).
    :param parameter: whose value it is, for the error.
    :raises SettingsError: for anything else.
    """
    if size == "":
        return None
    number = size if isinstance(size, int) and not isinstance(size, bool) else -1
    if isinstance(size, str) and (found := _SIZE.fullmatch(size)):
        factor = _UNITS.get(found[2].lower(), -1)
        number = int(float(found[1]) * factor) if "." in found[1] else int(found[1]) * factor
    if not 0 <= number <= LARGEST_SIZE:
        # Python refuses to write numbers of thousands of digits.
        shown = "a number" if isinstance(size, int) and abs(size) > LARGEST_SIZE else f"{size!r:.80}"
        raise SettingsError(
            f"{parameter}={shown}; a size in bytes or with a unit is accepted, such as 500, '10 KB', '1.5 MiB', up to "
            f"{LARGEST_SIZE} bytes.",
            stage="settings",
        )
    return number


@dataclass(frozen=True)
class Choice:
    """What of a mail to save, and how.

    :param what: ``attachments``, ``message`` (its source, .eml) or ``both``.
    :param names: globs of attachments' names, separated by ``|``, such as ``*.csv|*.txt``; one of them must match.
    :param regex: a regular expression (RE2 syntax) that is found in the name; empty for any name.
    :param match_case: whether ``names`` and ``regex`` tell upper from lower case.
    :param larger: only attachments of more than this, as :func:`parse_size` takes it; empty for no limit.
    :param smaller: only attachments of less than this.
    :param sizes: whether both limits must hold (``and``) or one is enough (``or``: for example below 1 KB or above
        1 MB).
    :param folder_per_mail: a folder of its own for each mail, named by its key; else all go into one folder.
    :param on_exists: ``number`` takes a new name, ``overwrite`` replaces, ``fail`` raises. A file with the very same
        content under that name is never written twice.
    :param decrypt: whether mails that are encrypted or signed by S/MIME are opened with the connection's keys, and what
        is within is saved. One that cannot be opened is an error then.
    """

    what: str = "attachments"
    names: str = "*"
    regex: str = ""
    match_case: bool = False
    larger: str | int = ""
    smaller: str | int = ""
    sizes: str = "and"
    folder_per_mail: bool = True
    on_exists: str = "number"
    decrypt: bool = False

    def __post_init__(self) -> None:
        for parameter, accepted in (("what", WHAT), ("sizes", SIZES), ("on_exists", ON_EXISTS)):
            if getattr(self, parameter) not in accepted:
                raise SettingsError(
                    f"{parameter}={getattr(self, parameter)!r}; accepted are {', '.join(map(repr, accepted))}.",
                    stage="settings",
                )
        for parameter in ("match_case", "folder_per_mail", "decrypt"):
            if not isinstance(getattr(self, parameter), bool):
                raise SettingsError(
                    f"{parameter}={getattr(self, parameter)!r}; True or False is accepted.", stage="settings"
                )
        for parameter in ("names", "regex"):
            if not isinstance(getattr(self, parameter), str):
                raise SettingsError(f"{parameter}={getattr(self, parameter)!r}; a text is accepted.", stage="settings")
        self._check_names()
        if templated(self.larger, self.smaller, self.regex):
            return  # they are checked again when they are rendered
        larger, smaller = parse_size(self.larger, "larger"), parse_size(self.smaller, "smaller")
        if self.sizes == "and" and larger is not None and smaller is not None and larger + 1 >= smaller:
            raise SettingsError(
                f"no attachment is larger than {self.larger!r} and smaller than {self.smaller!r}.",
                stage="settings",
                remedy="Swap the two, or give sizes='or'.",
            )
        if self.regex:
            matcher("regex", self.regex, case=self.match_case)

    def _check_names(self) -> None:
        if templated(self.names):
            return
        globs = [glob.strip() for glob in self.names.split("|")]
        if not all(globs):
            raise SettingsError(
                f"names={self.names!r}; globs separated by | are accepted, such as '*.csv|*.txt', and none that is "
                "empty: it would match nothing.",
                stage="settings",
                remedy="For attachments of any name leave it out, or give '*'.",
            )
        for glob in globs:
            check_pattern(glob, "names", ",;", "Separate them with |, as in '*.csv|*.txt'.")

    def takes(self, attachment: Attachment) -> bool:
        """Tell whether an attachment is to be saved. Sizes are those that the server tells, after decoding."""
        return self.what != "message" and self._takes_name(attachment.name) and self._takes_size(attachment.size)

    def _takes_name(self, name: str) -> bool:
        shown = fold(name, case=self.match_case)
        if not any(matcher("glob", glob.strip(), case=self.match_case)(shown) for glob in self.names.split("|")):
            return False
        return not self.regex or matcher("regex", self.regex, case=self.match_case)(fold(name, case=True))

    def _takes_size(self, size: int) -> bool:
        larger, smaller = parse_size(self.larger, "larger"), parse_size(self.smaller, "smaller")
        held = [size > larger] if larger is not None else []
        held += [size < smaller] if smaller is not None else []
        return not held or (all(held) if self.sizes == "and" else any(held))

    def to_json(self) -> dict[str, Any]:
        """Return what differs from the default."""
        plain = Choice()
        return {name: value for name, value in asdict(self).items() if value != getattr(plain, name)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Choice:
        """Rebuild a choice from :meth:`to_json`'s form.

        :raises SettingsError: for a name that it does not have, or a value that cannot be used.
        """
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                raise SettingsError(f"{name!r} is no option of saving; there are {', '.join(known)}.", stage="settings")
        return cls(**data)
