"""What a DAG author writes: the parts of a mail that conditions can be made about, and what can be asked of each.

Only how conditions are made; what they compare is in the modules named ``…_condition``. ``docs/conditions.md``
describes it all with examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NoReturn

from airflow_imap_provider.mail.condition import Condition
from airflow_imap_provider.mail.date_condition import age_condition, date_condition
from airflow_imap_provider.mail.header_block import check_header_name
from airflow_imap_provider.mail.mark_condition import ProtectionCondition, flag_condition
from airflow_imap_provider.mail.number_condition import number_condition
from airflow_imap_provider.mail.smime_condition import SignatureCondition
from airflow_imap_provider.mail.text_condition import FIELDS, TextCondition
from airflow_imap_provider.mail.trust_condition import authentication_condition, sender_condition

__all__ = [
    "AllowedSenders",
    "Attachment",
    "Attachments",
    "AuthenticationResults",
    "Body",
    "Cc",
    "DateField",
    "Encrypted",
    "Flags",
    "FlagsField",
    "From",
    "Header",
    "MethodField",
    "NumberField",
    "Received",
    "ReplyTo",
    "Sent",
    "SignatureField",
    "Signed",
    "Size",
    "SmimeSignature",
    "SmimeSigner",
    "Subject",
    "TextField",
    "To",
]


@dataclass(frozen=True, repr=False)
class TextField:
    """A part of a mail that conditions can be made about.

    Of several texts (addresses, values of a repeated header) one that meets the condition is enough; the ``not_…``
    forms say that none does. Case is ignored unless ``case=True``.
    """

    field: str
    name: str = ""
    every: bool = False

    def __repr__(self) -> str:
        return f"Header({self.name!r})" if self.name else FIELDS[self.field]

    def equals(self, value: str, *, case: bool = False) -> Condition:
        """The text is this one. For addresses: the address, the display name, or ``Name <address>``."""
        return self._test("equals", value, case)

    def not_equals(self, value: str, *, case: bool = False) -> Condition:
        """No text is this one."""
        return ~self.equals(value, case=case)

    def contains(self, value: str, *, case: bool = False) -> Condition:
        """The text contains this one. For addresses: anywhere in ``Name <address>``."""
        return self._test("contains", value, case)

    def not_contains(self, value: str, *, case: bool = False) -> Condition:
        """No text contains this one."""
        return ~self.contains(value, case=case)

    def starts_with(self, value: str, *, case: bool = False) -> Condition:
        """The text starts with this one."""
        return self._test("starts_with", value, case)

    def ends_with(self, value: str, *, case: bool = False) -> Condition:
        """The text ends with this one. For addresses: ``ends_with("@example.com")`` is everybody there."""
        return self._test("ends_with", value, case)

    def one_of(self, values: Iterable[str], *, case: bool = False) -> Condition:
        """The text is one of these."""
        return self._test("one_of", values, case)

    def glob(self, pattern: str, *, case: bool = False) -> Condition:
        """The whole text is like the pattern: ``*`` any characters, ``?`` one, ``[abc]`` one of these."""
        return self._test("glob", pattern, case)

    def regex(self, pattern: str, *, case: bool = False) -> Condition:
        r"""The regular expression is found in the text. Its syntax is RE2's; ``^`` and ``$`` bind it to the ends.

        :raises SettingsError: if it is none.
        """
        return self._test("regex", pattern, case)

    def _test(self, op: str, value: object, case: bool) -> Condition:
        return TextCondition(self.field, op, value, case, self.name, self.every)  # type: ignore[arg-type]  # it checks what it is given


class Header(TextField):
    """Any header, by its name.

    :param name: as in the mail and without the colon, such as ``X-Priority``; case does not matter.
    :raises SettingsError: if it cannot be the name of a header.
    """

    def __init__(self, name: str) -> None:
        super().__init__("header", check_header_name(name))

    def exists(self) -> Condition:
        """The mail has such a header."""
        return TextCondition("header", "exists", name=self.name)


@dataclass(frozen=True)
class DateField:
    """When the server received the mail (IMAP's INTERNALDATE), or when the sender says to have sent it (Date).

    Each takes a date (a day in UTC), a datetime (in UTC if it has no time zone), or either as an ISO 8601 text; those
    about an age take a timedelta or a text such as ``2 days``. A mail without that date meets none of them.
    """

    field: str

    def before(self, value: date | str) -> Condition:
        """Before the moment, or before the day."""
        return date_condition(self.field, "before", value)

    def after(self, value: date | str) -> Condition:
        """After the moment, or after the end of the day."""
        return date_condition(self.field, "after", value)

    def at_or_before(self, value: date | str) -> Condition:
        """At the moment or before, or on the day or before."""
        return date_condition(self.field, "at_or_before", value)

    def at_or_after(self, value: date | str) -> Condition:
        """At the moment or after, or on the day or after."""
        return date_condition(self.field, "at_or_after", value)

    def on(self, value: date | str) -> Condition:
        """On the day; that of a datetime is the day in its own time zone."""
        return date_condition(self.field, "on", value)

    def equals(self, value: date | str) -> Condition:
        """Within the second of the moment, or on the day."""
        return date_condition(self.field, "equals", value)

    def not_equals(self, value: date | str) -> Condition:
        """Not within the second, or not on the day."""
        return ~self.equals(value)

    def older_than(self, age: timedelta | str) -> Condition:
        """Longer ago than that, when the mail is looked at."""
        return age_condition(self.field, "older_than", age)

    def newer_than(self, age: timedelta | str) -> Condition:
        """That long ago or less, when the mail is looked at; a date in the future, too."""
        return age_condition(self.field, "newer_than", age)


@dataclass(frozen=True)
class NumberField:
    """A size in bytes, or a count. Sizes may be written as ``10 MB`` (a million bytes each) or ``1.5 MiB``."""

    field: str
    every: bool = False

    def equals(self, value: int | str) -> Condition:
        """Exactly so many."""
        return self._test("equals", value)

    def not_equals(self, value: int | str) -> Condition:
        """Not exactly so many; of several, none."""
        return ~self.equals(value)

    def at_least(self, value: int | str) -> Condition:
        """So many or more."""
        return self._test("at_least", value)

    def at_most(self, value: int | str) -> Condition:
        """So many or fewer."""
        return self._test("at_most", value)

    def larger_than(self, value: int | str) -> Condition:
        """More."""
        return self._test("larger_than", value)

    def smaller_than(self, value: int | str) -> Condition:
        """Fewer."""
        return self._test("smaller_than", value)

    def _test(self, op: str, value: object) -> Condition:
        return number_condition(self.field, op, value, every=self.every)


class Attachments:
    """The attachments of a mail; of several, one that meets the condition is enough, or :attr:`every` one must."""

    name = TextField("attachment_name")
    type = TextField("attachment_type")
    size = NumberField("attachment_size")
    count = NumberField("attachment_count")

    class every:  # noqa: N801 - reads as a word in Attachment.every.name
        """There is an attachment, and each of them meets the condition."""

        name = TextField("attachment_name", every=True)
        type = TextField("attachment_type", every=True)
        size = NumberField("attachment_size", every=True)

    def exists(self) -> Condition:
        """The mail has an attachment."""
        return self.count.at_least(1)

    def __getattr__(self, test: str) -> NoReturn:
        """Say where a test is that stands a step further on, such as ``Attachment.glob``."""
        found = [name for name in ("name", "type", "size", "count") if hasattr(type(getattr(self, name)), test)]
        hint = f". Did you mean {' or '.join(f'Attachment.{name}.{test}' for name in found)}?"
        plain = f"Attachment has no {test!r}"
        raise AttributeError(plain + hint if found and not test.startswith("_") else plain, name=test, obj=self)


class FlagsField:
    r"""Flags (``\Seen``, ``\Flagged``, …) and keywords that the mail has on the server when it is looked at."""

    def has(self, flag: str) -> Condition:
        """The mail has the flag or keyword."""
        return flag_condition(flag)

    def lacks(self, flag: str) -> Condition:
        """The mail does not have it."""
        return ~flag_condition(flag)


def Signed(by: str = "") -> Condition:  # noqa: N802 - reads as a noun in DAG files, like the others
    """The mail is signed, as its structure says; whether the signature is good, ``SmimeSignature`` tells.

    :param by: ``smime`` or ``pgp``; empty for either.
    """
    return ProtectionCondition("signed", by)


def Encrypted(by: str = "") -> Condition:  # noqa: N802
    """The mail is encrypted, as its structure says.

    :param by: ``smime`` or ``pgp``; empty for either.
    """
    return ProtectionCondition("encrypted", by)


class SignatureField:
    """What came of checking a mail's S/MIME signatures. A mail without any meets none of these."""

    def is_valid(self) -> Condition:
        """It is signed as it is by its author, whose certificate a trusted issuer vouches for."""
        return SignatureCondition("valid")

    def equals(self, state: str) -> Condition:
        """It is in this state: ``valid``, ``other-sender``, ``expired``, ``untrusted``, ``weak``, ``unsupported``,
        ``partial`` or ``invalid``.

        :raises SettingsError: for another one.
        """
        return SignatureCondition(state)


def AllowedSenders(allowed: Iterable[str]) -> Condition:  # noqa: N802
    """Every author is on the list, and there is one at least.

    From is only a claim: join it with :class:`AuthenticationResults` where that matters.

    :param allowed: addresses, domains (``@example.com``), or all domains below one (``@*.example.com``).
    """
    return sender_condition(allowed)


@dataclass(frozen=True)
class MethodField:
    """What a trusted server found by one method."""

    server: str
    method: str

    def passes(self, domain: str = "") -> Condition:
        """The check passed, for the domain of From or one above it, or for the one that is given.

        :param domain: such as that of a service which sends for others: ``bounces.example.net``.
        """
        return authentication_condition(self.server, self.method, "pass", domain)

    def equals(self, result: str) -> Condition:
        """The server told this result, such as ``fail`` or ``softfail``; ``pass`` is the same as :meth:`passes`."""
        return authentication_condition(self.server, self.method, result)


class AuthenticationResults:
    """What a server that you trust found when it received the mail (RFC 8601). Nobody else's results count.

    :param server: the name with which its header begins, such as ``mx.google.com``.
    """

    def __init__(self, server: str) -> None:
        self.dkim = MethodField(server, "dkim")
        self.dmarc = MethodField(server, "dmarc")
        self.spf = MethodField(server, "spf")


From = TextField("from")
To = TextField("to")
Cc = TextField("cc")
ReplyTo = TextField("reply_to")
SmimeSignature = SignatureField()
SmimeSigner = TextField("smime_signer")
Subject = TextField("subject")
Body = TextField("body")
Received = DateField("received")
Sent = DateField("sent")
Size = NumberField("size")
Attachment = Attachments()
Flags = FlagsField()
