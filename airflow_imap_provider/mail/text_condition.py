"""The leaves of a condition that compare text: addresses, subject, body, headers, names and types of attachments.

Each checks what it is given when it is made, so that a mistake in a DAG file shows when the file is parsed and not
when the first mail arrives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.charsets import fold
from airflow_imap_provider.mail.condition import VALUES_SHOWN, Condition, shown
from airflow_imap_provider.mail.matching import compile_regex, matcher
from airflow_imap_provider.mail.name_patterns import check_pattern
from airflow_imap_provider.mail.smime_condition import checked_outcome
from airflow_imap_provider.mail.templates import templated

if TYPE_CHECKING:
    from airflow_imap_provider.mail.message import Address, Mail

__all__ = ["ADDRESS_FIELDS", "ATTACHMENT_FIELDS", "FIELDS", "TEXT_OPS", "TextCondition"]

FIELDS = {
    "attachment_name": "Attachment.name",
    "attachment_type": "Attachment.type",
    "body": "Body",
    "cc": "Cc",
    "from": "From",
    "header": "Header",
    "reply_to": "ReplyTo",
    "smime_signer": "SmimeSigner",
    "subject": "Subject",
    "to": "To",
}
"""The fields of text tests as they are stored, and as a DAG author writes them."""

ADDRESS_FIELDS = frozenset({"from", "to", "cc", "reply_to"})

NEVER_EMPTY = ADDRESS_FIELDS | {"smime_signer"}
"""Fields of which no text is empty, so that an empty value is a mistake."""

ATTACHMENT_FIELDS = frozenset({"attachment_name", "attachment_type"})

TEXT_OPS = ("contains", "ends_with", "equals", "exists", "glob", "one_of", "regex", "starts_with")
"""What can be asked of a text. ``not_equals`` and ``not_contains`` are the others, negated."""

VALUE_LIMIT = 4_000
"""Characters of a value. Conditions are stored with each trigger and travel with it."""

VALUES_LIMIT = 1_000
"""Values of ``one_of``. A longer list belongs into a file that the DAG reads."""

BODIES_KEPT = 4
"""Bodies kept in the form in which they are compared, so that many conditions prepare a mail's body once: with and
without case, and with its lines for regular expressions, and one to spare for another thread."""

_TRIMMED = {"equals": str.strip, "one_of": str.strip, "starts_with": str.lstrip, "ends_with": str.rstrip}
"""What is taken off a value by operator: no text of a mail has blanks around it, so it could never compare."""


@dataclass(frozen=True, repr=False)
class TextCondition(Condition):
    """A comparison of a field's text with a value.

    A field with several texts (addresses, a repeated header) meets the test if one of them does.

    :param field: one of :data:`FIELDS`.
    :param op: one of :data:`TEXT_OPS`.
    :param value: a text; for ``one_of`` several, which are kept sorted; for ``exists`` ``None``. Blanks around it that
        no text could have are taken off.
    :param case: whether case matters.
    :param name: the header's name in lower case, for the field ``header``.
    :param every: for attachments, whether each of them must compare, and not only one.
    """

    field: str
    op: str
    value: str | tuple[str, ...] | None = None
    case: bool = False
    name: str = ""
    every: bool = False

    def __post_init__(self) -> None:
        for switch, given in (("case", self.case), ("every", self.every)):
            if not isinstance(given, bool):
                raise SettingsError(f"{self._call}: {switch} is True or False, not {given!r}", stage="settings")
        if self.op == "exists":
            return
        if self.op == "one_of":
            object.__setattr__(self, "value", self._checked_values(self.value))
            return
        # An empty text is contained in every other: such a condition is a mistake. Only an equal one can be meant.
        value = self._checked(self.value, empty=self.op == "equals" and self.field not in NEVER_EMPTY)
        object.__setattr__(self, "value", value)
        if self.op == "glob" and self.field == "attachment_name":
            several = "Join conditions with | between them, or use regex(r'\\.(csv|txt)$')."
            check_pattern(str(self.value), self._call, "|,;", several)
        if self.op == "regex" and not templated(self.value):
            compile_regex(str(self.value), case=self.case)

    @property
    def _call(self) -> str:
        who = f"Header({self.name!r})" if self.field == "header" else FIELDS[self.field]
        if self.every:
            who = who.replace("Attachment.", "Attachment.every.")
        return f"{who}.{self.op}"

    def _checked(self, value: object, *, empty: bool) -> str:
        problem = ""
        if isinstance(value, str):
            value = _TRIMMED.get(self.op, str)(value)
        if not isinstance(value, str):
            problem = f"takes text, not {type(value).__name__}"
        elif not empty and not (_unwrapped(value) if self.field == "body" else value):
            problem = "needs a text that is not empty"
        elif len(value) > VALUE_LIMIT:
            problem = f"takes at most {VALUE_LIMIT} characters, not {len(value)}"
        elif "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            problem = "has a character that no mail's text can hold (NUL or half a surrogate pair)"
        if problem or not isinstance(value, str):
            raise SettingsError(f"{self._call} {problem}", stage="settings")
        return value

    def _checked_values(self, values: object) -> tuple[str, ...]:
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise SettingsError(
                f"{self._call} takes a list of texts, not {type(values).__name__}",
                stage="settings",
                remedy="For a single text use equals.",
            )
        distinct = {self._checked(value, empty=self.field not in NEVER_EMPTY) for value in values}
        if not distinct or len(distinct) > VALUES_LIMIT:
            raise SettingsError(f"{self._call} takes 1 to {VALUES_LIMIT} texts, not {len(distinct)}", stage="settings")
        return tuple(sorted(distinct))

    def holds(self, mail: Mail, now: datetime | None = None) -> bool:  # noqa: ARG002 - no text has an age
        texts = self._texts(mail)
        if self.op == "exists":
            return bool(texts)
        value = self.value
        if self.field == "body" and self.op != "regex":
            value = tuple(map(_unwrapped, value)) if isinstance(value, tuple) else _unwrapped(str(value))
        matches = matcher(self.op, value or "", case=self.case)
        lines = self.op == "regex"
        prepared = partial(_comparable_body, lines=lines) if self.field == "body" else fold
        compared = (matches(prepared(text, case=self.case or lines)) for text in texts)
        # Without any there is none that compares: "every" is not met by nothing.
        return bool(texts) and all(compared) if self.every else any(compared)

    def values(self, mail: Mail) -> tuple[str, ...]:
        return tuple(shown(text) for text in self._texts(mail)[:VALUES_SHOWN])

    def _texts(self, mail: Mail) -> tuple[str, ...]:
        """Return the texts of the field, each of which is compared."""
        if self.field == "subject":
            return (mail.subject,)
        if self.field == "header":
            return mail.headers.get(self.name, ())
        if self.field == "body":
            if mail.text is None and mail.text_parts:
                raise RuntimeError("a condition on the body is asked before the mail's text was fetched")
            return (mail.text or "",)
        if self.field == "smime_signer":
            outcome = checked_outcome(mail)
            return outcome.signers if outcome else ()
        if self.field == "attachment_name":
            return tuple(each.name for each in mail.attachments)
        if self.field == "attachment_type":
            return tuple(each.content_type for each in mail.attachments)
        fields = {"from": mail.from_, "to": mail.to, "cc": mail.cc, "reply_to": mail.reply_to}
        return tuple(text for address in fields[self.field] for text in _address_texts(address))

    @property
    def needs_text(self) -> bool:
        return self.field == "body"

    @property
    def needs_smime(self) -> bool:
        return self.field == "smime_signer"

    @property
    def headers(self) -> frozenset[str]:
        return frozenset({self.name}) if self.field == "header" else frozenset()

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"field": self.field, "op": self.op}
        if self.name:
            out["name"] = self.name
        if self.value is not None:
            out["value"] = list(self.value) if isinstance(self.value, tuple) else self.value
        if self.case:
            out["case"] = True
        if self.every:
            out["every"] = True
        return out

    def __repr__(self) -> str:
        arguments = [] if self.value is None else [repr(list(self.value) if self.op == "one_of" else self.value)]
        if self.case:
            arguments.append("case=True")
        return f"{self._call}({', '.join(arguments)})"


def _address_texts(address: Address) -> list[str]:
    """Return the texts by which an address can be meant: address, name, ``Name <address>``.

    A name that holds an @ is left out: it is how mails pretend to come from another address.
    """
    texts = [address.address] if address.address else []
    if address.name and "@" not in address.name:
        texts += [address.name, str(address)] if address.address else [address.name]
    return texts


@lru_cache(maxsize=BODIES_KEPT)
def _comparable_body(text: str, *, case: bool, lines: bool) -> str:
    return fold(text if lines else _unwrapped(text), case=case)


def _unwrapped(text: str) -> str:
    """Return the text with single blanks: where a mailer broke its lines is nothing to compare."""
    return " ".join(text.split())
