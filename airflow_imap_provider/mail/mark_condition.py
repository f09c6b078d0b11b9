"""The leaves of a condition that ask for a mark: a flag or keyword on the server, a signature or encryption of the mail
itself.

Signed and encrypted are told from the structure of the mail alone. Whether a signature is good is another question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.condition import VALUES_SHOWN, Condition, shown
from airflow_imap_provider.mail.template_condition import TemplateCondition
from airflow_imap_provider.mail.templates import templated

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Mail

__all__ = ["PROTECTIONS", "FlagCondition", "ProtectionCondition", "flag_condition"]

SYSTEM_FLAGS = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")
"""The flags that IMAP gives a meaning (RFC 9051, section 2.3.2). ``\\Recent`` tells something about a session."""

KEYWORD_LENGTH = 200
"""Characters of a keyword. Dovecot allows 50."""

PROTECTIONS = ("encrypted", "signed")
"""How a mail can be protected."""

PROTECTION_KINDS = ("", "pgp", "smime")
"""By what; empty is by whatever."""

_KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
"""An atom (RFC 9051, section 9), which cannot change the command that asks for it."""


@dataclass(frozen=True, repr=False)
class FlagCondition(Condition):
    """The mail has a flag or keyword.

    :param flag: a system flag with its backslash, or a keyword. Case does not matter, as for servers.
    :raises SettingsError: if it can be neither.
    """

    flag: str

    def __post_init__(self) -> None:
        flag = self.flag
        if isinstance(flag, str):
            flag = next((known for known in SYSTEM_FLAGS if known.lower() == flag.strip().lower()), flag.strip())
        fits = isinstance(flag, str) and (flag in SYSTEM_FLAGS or _KEYWORD.fullmatch(flag))
        if not fits or len(flag) > KEYWORD_LENGTH:
            raise SettingsError(
                f"Flags.has cannot use {self.flag!r:.80}",
                stage="settings",
                remedy=f"Give one of {', '.join(SYSTEM_FLAGS)} (in Python written '\\\\Seen'), or a keyword without "
                "blanks such as 'Processed' or '$Junk'.",
            )
        if f"\\{flag}".lower() in (*map(str.lower, SYSTEM_FLAGS), "\\recent"):
            # As a keyword nobody sets it: "has" would never hold, and "lacks" always.
            known = next((each for each in SYSTEM_FLAGS if each.lower() == f"\\{flag}".lower()), "")
            raise SettingsError(
                f"Flags.has cannot use {self.flag!r:.80}, which is the name of a system flag without its backslash",
                stage="settings",
                remedy=f"Write {known!r}." if known else "No flag tells it: use Received.newer_than('1 day').",
            )
        object.__setattr__(self, "flag", flag)

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - a flag has no age
        return self.flag.lower() in (flag.lower() for flag in mail.flags)

    def values(self, mail: Mail) -> tuple[str, ...]:
        return tuple(shown(flag) for flag in mail.flags[:VALUES_SHOWN])

    def to_json(self) -> dict[str, Any]:
        return {"field": "flags", "op": "has", "value": self.flag}

    def __repr__(self) -> str:
        return f"Flags.has({self.flag!r})"


def flag_condition(flag: object) -> Condition:
    """Return the condition that a flag means.

    :raises SettingsError: if it can be no flag and no keyword.
    """
    if templated(flag):
        return TemplateCondition.of("Flags.has", field="flags", op="has", value=flag)
    return FlagCondition(flag)  # type: ignore[arg-type]  # it checks what it is given


@dataclass(frozen=True, repr=False)
class ProtectionCondition(Condition):
    """The mail is, or says that it is, signed or encrypted.

    :param how: one of :data:`PROTECTIONS`.
    :param by: ``smime``, ``pgp``, or empty for whatever.
    :raises SettingsError: for another kind.
    """

    how: str
    by: str = ""

    def __post_init__(self) -> None:
        if self.by not in PROTECTION_KINDS:
            raise SettingsError(
                f"{self.how.capitalize()} cannot use {self.by!r:.80}",
                stage="settings",
                remedy="Give 'smime' or 'pgp', or nothing for both.",
            )

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - it has no age
        wanted = f"{self.by}-{self.how}"
        return any(each == wanted if self.by else each.endswith(wanted) for each in mail.protection)

    def values(self, mail: Mail) -> tuple[str, ...]:
        return mail.protection

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"field": self.how, "op": "exists"}
        if self.by:
            out = {"field": self.how, "op": "equals", "value": self.by}
        return out

    def __repr__(self) -> str:
        return f"{self.how.capitalize()}({self.by!r})" if self.by else f"{self.how.capitalize()}()"
