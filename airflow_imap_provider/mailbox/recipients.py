"""Whom a forward goes to: addresses as people and mails write them, and as SMTP and a header take them.

Header lines are written here and not by the email package: that one refuses addresses that exist, such as
``a..b@docomo.ne.jp``, with errors of its own kind, and writes long msg-ids as encoded words. Whether somebody reads
mail at an address is not known here; the SMTP server says so.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.header import Header

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.message import Address, Mail
from airflow_imap_provider.mail.templates import templated

__all__ = ["Person", "check_recipient", "header_line", "one_person", "people_line", "people_of"]

log = logging.getLogger(__name__)

FROM_THE_MAIL = ("mail:from", "mail:reply_to", "mail:to", "mail:cc")

LONGEST_ADDRESS = 254
"""Characters of an address: a path has 256 with its brackets (RFC 5321, section 4.5.3.1.3)."""

LONGEST_NAME = 60
"""Characters of a display name that is written on one line; longer ones are encoded, which can be folded anywhere."""

NAMED = 3
"""Addresses of a mail that are left out and shown in the log; a header may have 2,000."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
"""What may stand before the @. Dots anywhere: Japanese mobile providers have given away ``a..b`` and ``a.``."""

_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[(?:[0-9.]+|IPv6:[0-9A-Fa-f:.]+)\]")
_PERSON = re.compile(
    r"""(?:(?P<name>(?:"(?:[^"\\]|\\.)*"|[^"<>@,;:])*)<(?P<inside>[^<>]+)>|(?P<bare>[^\s<>(),;]+))"""
    r"""(?:\s*\((?P<comment>[^()]*)\))?"""
)
"""What an option names. The standard library's ``getaddresses`` differs between Python's patch releases, and since it
became strict (CVE-2023-27043) it takes no domain literals."""

_PLAIN_NAME = re.compile(rf"{_ATOM}(?: {_ATOM})*")
_NOT_ON_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, lone surrogates and separators of lines."""


@dataclass(frozen=True)
class Person:
    """Somebody to write to.

    :param name: the display name; empty if there is none.
    :param address: as SMTP and headers take it: a local part that is no dot-atom is quoted (RFC 5321, section 4.1.2).
    """

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What is behind the @."""
        return self.address.rpartition("@")[2]

    def __str__(self) -> str:
        """Return it as a header has it (RFC 5322, section 3.4), in ASCII; folded if it is long."""
        if not self.name:
            return self.address
        name = self.name
        # What looks like an encoded word must be one, or readers show what it hides.
        if len(name) > LONGEST_NAME or not (name.isascii() and name.isprintable()) or "=?" in name:
            name = Header(name, "utf-8", maxlinelen=75).encode(linesep="\r\n")
        elif not _PLAIN_NAME.fullmatch(name):
            name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
        return f"{name} <{self.address}>"


def check_recipient(option: str, item: object) -> None:
    """Check one of those that a forward goes to, as far as it is known before there is a mail.

    :raises SettingsError: it cannot be one.
    """
    if not isinstance(item, str) or not item.strip():
        raise SettingsError(f"{option}={item!r}; a text is accepted.", stage="settings")
    if item.startswith("mail:"):
        if item not in FROM_THE_MAIL:
            raise SettingsError(f"{option}={item!r}; accepted are {', '.join(FROM_THE_MAIL)}.", stage="settings")
    elif not templated(item) and "://" not in item:
        one_person(item, option)


def one_person(text: str, option: str) -> Person:
    """Return the one person whom a text names, such as ``Ann <ann@example.com>``.

    :param option: where it was written, for the error.
    :raises SettingsError: if it names nobody, or several.
    """
    found = (
        None if any(unicodedata.category(each) in _NOT_ON_A_LINE for each in text) else _PERSON.fullmatch(text.strip())
    )
    address = _address((found["inside"] or found["bare"]).strip()) if found else ""
    if not found or not address:
        raise SettingsError(
            f"{option}={text!r}; one address is accepted, in ASCII, such as 'ann@example.com' or "
            "'Ann <ann@example.com>'.",
            stage="settings",
            remedy="Give several as a list, and a file as a URL such as file:///etc/recipients.",
        )
    return Person(_unquoted(found["name"] or "") or _unquoted(found["comment"] or ""), address)


def _unquoted(name: str) -> str:
    """Return a display name without its quotes and superfluous blanks."""
    return " ".join(re.sub(r'"((?:[^"\\]|\\.)*)"', lambda quoted: re.sub(r"\\(.)", r"\1", quoted[1]), name).split())


def _address(written: str) -> str:
    """Return an address as SMTP takes it; empty if none can be made of it."""
    local, _, domain = written.rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = local[1:-1]
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        return ""
    address = f"{local}@{domain}" if _DOT_ATOM.fullmatch(local) else f'"{local}"@{domain}'
    return address if len(address) <= LONGEST_ADDRESS else ""


def people_of(
    items: Sequence[str], option: str, mails: Sequence[tuple[str, Mail]], files: Mapping[str, Sequence[str]]
) -> tuple[Person, ...]:
    """Return those whom an option of a forward names, each once.

    What a sender wrote into his mail need not be an address: such are left out, and the log says so.

    :param items: the option's values.
    :param mails: what is forwarded, each with its key.
    :param files: for each item that is a URL, the lines of the file.
    :raises SettingsError: a line of a file, or what was a template, names nobody.
    """
    found: list[Person] = []
    for item in items:
        if item.startswith("mail:"):
            for key, mail in mails:
                found += _people_of_mail(item, option, key, mail)
        elif "://" in item:
            lines = (line.partition("#")[0].strip() for line in files[item])
            found += [one_person(line, item) for line in lines if line]
        else:
            found.append(one_person(item, option))
    return tuple({each.address.casefold(): each for each in found}.values())


def _people_of_mail(item: str, option: str, key: str, mail: Mail) -> list[Person]:
    field = item.partition(":")[2]
    written: Sequence[Address] = getattr(mail, "from_" if field == "from" else field)
    if option == field == "reply_to":
        written = mail.reply_to or mail.from_
    addresses = [(each, _address(each.address)) for each in written]
    left_out = [str(each)[:LONGEST_ADDRESS] for each, address in addresses if not address]
    if left_out:
        log.warning(
            "Mail %s: %s of %s in %s are no addresses that can be written to, and left out of %s: %s",
            key,
            len(left_out),
            len(addresses),
            item,
            option,
            ", ".join(map(repr, left_out[:NAMED])),
        )
    return [Person("", address) for _, address in addresses if address]


def people_line(name: str, people: Sequence[Person]) -> bytes:
    """Return a header line with people, one on each line of it."""
    return header_line(name, ",\r\n ".join(map(str, people)))


def header_line(name: str, value: str) -> bytes:
    """Return a header line with a value that is ready: ASCII, folded where it is to be folded."""
    return f"{name}: {value}\r\n".encode("ascii")
