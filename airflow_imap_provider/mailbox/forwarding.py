"""Forwarding: to whom, and the message that is sent. How it is sent is not known here.

A forwarded mail goes along as it is, byte by byte (``attachment``), or as its text and its attachments (``inline``).
What is sent says that it was sent by a machine, counts how often that happened, and has a Message-ID made from the
mail's key, so that the same forward, repeated after a crash, can be recognised.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses
from typing import Any

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mail.fetching import text_items, with_text
from airflow_imap_provider.mail.message import Mail
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mailbox.choice import parse_size
from airflow_imap_provider.mailbox.download import part_content
from airflow_imap_provider.mailbox.names import safe_name
from airflow_imap_provider.transport.session import Session

__all__ = ["HOPS_HEADER", "Envelope", "Forwarding", "compose", "fetch_parts"]

STYLES = ("attachment", "inline")
FROM_THE_MAIL = ("mail:from", "mail:reply_to", "mail:to", "mail:cc")

HOPS_HEADER = "X-Airflow-Forwarded"
"""Counts how often a mail was forwarded by this package."""

MOST_HOPS = 3
"""Forwards of one mail, one after the other, that are no loop: from a team's mailbox to another's to a person."""

LARGEST = "25 MB"
"""The default limit of what is forwarded: what Gmail and Exchange accept. It is held in memory, and is a third larger
on its way if it must be encoded."""

RECIPIENTS = 100
"""Recipients of one message at most: what every SMTP server must take (RFC 5321, section 4.5.3.1.8)."""

LONGEST_LINE = 998
"""Bytes of a line that SMTP carries (RFC 5322, section 2.1.1)."""

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\\]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Forwarding:
    """To whom a mail is forwarded, and how.

    ``to``, ``cc`` and ``bcc`` take a text or several: an address (``Ann <ann@example.com>``), a file with one address
    a line (``file:///etc/recipients``, or any other URL of Airflow's object storage), or ``mail:from``,
    ``mail:reply_to``, ``mail:to`` or ``mail:cc`` for those of the mail.

    :param smtp_conn_id: the SMTP connection.
    :param sender: the From address; empty for the one of the connection.
    :param subject_prefix: put before the subject.
    :param style: ``attachment`` (the mail as it is, as message/rfc822) or ``inline`` (its text and attachments).
    :param separate: a message for each mail; else one for all that are forwarded at once.
    :param max_size: larger mails are not forwarded; a size as in ``"25 MB"``.
    """

    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    smtp_conn_id: str = "smtp_default"
    sender: str = ""
    subject_prefix: str = "Fwd: "
    style: str = "attachment"
    separate: bool = True
    max_size: str | int = LARGEST

    def __post_init__(self) -> None:
        for name in ("to", "cc", "bcc"):
            for item in getattr(self, name):
                _check_recipient(name, item)
        if not (self.to or self.cc or self.bcc):
            raise SettingsError("a forward needs at least one of to, cc and bcc.", stage="settings")
        for name in ("smtp_conn_id", "sender", "subject_prefix"):
            value = getattr(self, name)
            if not isinstance(value, str) or any(ord(character) < 32 for character in value):
                raise SettingsError(f"{name}={value!r}; a text on one line is accepted.", stage="settings")
        if self.sender and not templated(self.sender):
            _parsed(self.sender, "sender")
        if self.style not in STYLES:
            raise SettingsError(f"style={self.style!r}; accepted are {', '.join(map(repr, STYLES))}.", stage="settings")
        if not isinstance(self.separate, bool):
            raise SettingsError(f"separate={self.separate!r}; True or False is accepted.", stage="settings")
        parse_size(self.max_size, "max_size")

    def to_json(self) -> dict[str, Any]:
        """Return what differs from the default."""
        changed = {name: value for name, value in vars(self).items() if value != getattr(type(self), name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Forwarding:
        """Rebuild it from :meth:`to_json`'s form; one text stands for a list of one.

        :raises SettingsError: for a name that it does not have, or a value that cannot be used.
        """
        known = [field.name for field in fields(cls)]
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in known:
                raise SettingsError(
                    f"{name!r} is no option of forwarding; there are {', '.join(known)}.", stage="settings"
                )
            if name in ("to", "cc", "bcc"):
                values[name] = (value,) if isinstance(value, str) else tuple(value)
            else:
                values[name] = value
        return cls(**values)


def _check_recipient(name: str, item: object) -> None:
    if not isinstance(item, str) or not item.strip():
        raise SettingsError(f"{name}={item!r}; a text is accepted.", stage="settings")
    if item.startswith("mail:"):
        if item not in FROM_THE_MAIL:
            raise SettingsError(f"{name}={item!r}; accepted are {', '.join(FROM_THE_MAIL)}.", stage="settings")
    elif not templated(item) and "://" not in item:
        _parsed(item, name)


def _parsed(text: str, name: str) -> HeaderAddress:
    """Return one address.

    :raises SettingsError: if it is none, or several.
    """
    found = getaddresses([text])
    shown, address = found[0] if len(found) == 1 else ("", "")
    if not _ADDRESS.fullmatch(address) or not address.isascii() or any(ord(character) < 32 for character in text):
        raise SettingsError(
            f"{name}={text!r}; one address is accepted, such as 'ann@example.com' or 'Ann <ann@example.com>'.",
            stage="settings",
            remedy="Give several as a list, and a file as a URL such as file:///etc/recipients.",
        )
    return HeaderAddress(shown, addr_spec=address)


@dataclass(frozen=True)
class Envelope:
    """A message ready to be sent.

    :param recipients: bare addresses, those of Bcc too.
    :param content: the message.
    :param eight_bit: whether it has bytes beyond ASCII.
    """

    sender: str
    recipients: tuple[str, ...]
    message_id: str
    content: bytes
    eight_bit: bool


def fetch_parts(session: Session, mail: Mail, forwarding: Forwarding, *, eight_bit: bool) -> list[bytes]:
    """Return a mail as the parts of the message that forwards it. Its folder must be open in the session.

    :param mail: fetched with :data:`HOPS_HEADER`.
    :param eight_bit: whether the SMTP server takes bytes beyond ASCII (8BITMIME).
    :raises ImapError: it is too large, was forwarded too often, or is gone.
    """
    hops = _hops(mail)
    if hops >= MOST_HOPS:
        raise ImapError(
            f"mail {mail.uid} of {mail.folder} was forwarded {hops} times already: this is a loop.",
            stage="forward",
            remedy="Do not forward to an address whose mail arrives in this folder, or leave out what has "
            f"the header {HOPS_HEADER} by a condition.",
        )
    limit = parse_size(forwarding.max_size, "max_size")
    if limit is not None and mail.size > limit:
        raise ImapError(
            f"mail {mail.uid} of {mail.folder} has {mail.size} bytes, and max_size={forwarding.max_size!r}.",
            stage="forward",
            remedy="Raise max_size if the SMTP server takes more, or save the mail instead.",
        )
    return _inline(session, mail) if forwarding.style == "inline" else _attached(session, mail, eight_bit=eight_bit)


def compose(
    mails: Sequence[tuple[str, Mail, Sequence[bytes]]],
    forwarding: Forwarding,
    *,
    sender: str,
    files: Mapping[str, Sequence[str]],
    eight_bit: bool,
) -> Envelope:
    """Build the message that forwards mails.

    :param mails: the identity of each, itself, and its parts from :func:`fetch_parts`.
    :param sender: the From address.
    :param files: for each recipient that is a URL, the lines of the file.
    :param eight_bit: as above.
    :raises ImapError: nobody is left to send it to, or it is too large.
    """
    first = mails[0][1]
    listed = [mail for _, mail, _ in mails]
    people = {name: _people(getattr(forwarding, name), name, listed, files) for name in ("to", "cc", "bcc")}
    recipients = tuple(dict.fromkeys(each.addr_spec for name in people for each in people[name]))
    if not recipients:
        raise ImapError(f"nobody is left to forward mail {first.uid} to.", stage="forward")
    if len(recipients) > RECIPIENTS:
        raise ImapError(f"{len(recipients)} recipients; at most {RECIPIENTS} are possible.", stage="forward")
    author = _parsed(sender, "sender")
    head = EmailMessage(policy=SMTP)
    head["From"] = author
    for name in ("to", "cc"):
        if people[name]:
            head[name.title()] = people[name]
    if not (people["to"] or people["cc"]):
        head["To"] = "undisclosed-recipients:;"
    more = f" (and {len(mails) - 1} more)" if len(mails) > 1 else ""
    head["Subject"] = f"{forwarding.subject_prefix}{first.subject}{more}"
    head["Date"] = formatdate(localtime=False)
    message_id = _message_id([key for key, _, _ in mails], forwarding, author.domain)
    head["Message-ID"] = message_id
    if len(mails) == 1 and re.fullmatch(r"<[!-;=?-~]{1,900}>", first.message_id):
        head["References"] = first.message_id
    head["Auto-Submitted"] = "auto-generated"  # RFC 3834: no autoresponder answers it
    head[HOPS_HEADER] = str(max(map(_hops, listed)) + 1)
    head["MIME-Version"] = "1.0"
    parts = [part for _, _, each in mails for part in each]
    content = head.as_bytes().rstrip(b"\r\n") + b"\r\n" + _multipart(parts)
    limit = parse_size(forwarding.max_size, "max_size")
    if len(mails) > 1 and limit is not None and sum(mail.size for mail in listed) > limit:
        raise ImapError(
            f"together the {len(mails)} mails are larger than max_size={forwarding.max_size!r}.",
            stage="forward",
            remedy="Forward them separately (separate=True).",
        )
    needs = not content.isascii()
    if needs and not eight_bit:
        raise ImapError(
            "the mail has bytes beyond ASCII in its parts, and the SMTP server does not take them (8BITMIME).",
            stage="forward",
            remedy="Use style='attachment'.",
        )
    return Envelope(author.addr_spec, recipients, message_id, content, needs)


def _hops(mail: Mail) -> int:
    values = mail.headers.get(HOPS_HEADER.lower(), ())
    return max((int(value) for value in values if re.fullmatch(r"\d{1,4}", value)), default=min(len(values), 1))


def _people(
    items: Sequence[str], name: str, mails: Sequence[Mail], files: Mapping[str, Sequence[str]]
) -> tuple[HeaderAddress, ...]:
    found: list[HeaderAddress] = []
    for item in items:
        if item.startswith("mail:"):
            field = item.partition(":")[2]
            # What a sender wrote there need not be an address: those that are none are left out.
            field = "from_" if field == "from" else field
            texts = [each.address for mail in mails for each in getattr(mail, field)]
            found += [_parsed(text, name) for text in texts if _ADDRESS.fullmatch(text) and text.isascii()]
        elif "://" in item:
            lines = (line.partition("#")[0].strip() for line in files[item])
            found += [_parsed(line, item) for line in lines if line]
        else:
            found.append(_parsed(item, name))
    return tuple({each.addr_spec.casefold(): each for each in found}.values())


def _message_id(keys: Sequence[str], forwarding: Forwarding, domain: str) -> str:
    text = json.dumps([sorted(keys), forwarding.to_json()], sort_keys=True)
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:32]}.forward@{domain}>"


def _attached(session: Session, mail: Mail, *, eight_bit: bool) -> list[bytes]:
    """Return the whole mail as one part."""
    raw = _LINE_END.sub(b"\r\n", part_content(session, mail.uid, "", "7bit", octets=mail.size))
    name = f"{safe_name(mail.subject, 'message')}.eml"
    plain = b"\0" not in raw and all(len(line) <= LONGEST_LINE for line in raw.split(b"\r\n"))
    if plain and (eight_bit or raw.isascii()):
        head = _message_head(name, "7bit" if raw.isascii() else "8bit")
        return [head + raw]
    # message/rfc822 may not be encoded (RFC 2046, section 5.2.1), and as it is no SMTP server would carry it.
    return [_encoded(raw, "application/octet-stream", name)]


def _inline(session: Session, mail: Mail) -> list[bytes]:
    """Return a text that shows the mail's, then its attachments as they are."""
    answer = session.fetch([mail.uid], text_items(mail)).get(mail.uid, {}) if mail.text_parts else {}
    text = with_text(mail, answer, session.settings.code_page).text or ""
    shown = EmailMessage(policy=SMTP)
    lines = [
        "---------- Forwarded message ----------",
        f"From: {', '.join(map(str, mail.from_))}",
        f"Date: {mail.date or mail.received}",
        f"Subject: {mail.subject}",
        f"To: {', '.join(map(str, mail.to))}",
        "",
        text,
    ]
    shown.set_content("\n".join(lines), charset="utf-8", cte="base64")
    parts = [_without_version(shown.as_bytes())]
    for each in mail.attachments:
        mime = part_content(session, mail.uid, f"{each.part}.MIME", "7bit")
        body = part_content(session, mail.uid, each.part, "7bit", octets=each.octets)
        parts.append(_LINE_END.sub(b"\r\n", mime.strip(b"\r\n") + b"\r\n\r\n" + body))
    return parts


def _encoded(content: bytes, content_type: str, name: str) -> bytes:
    part = EmailMessage(policy=SMTP)
    main, _, sub = content_type.partition("/")
    part.set_content(content, maintype=main, subtype=sub, filename=name, cte="base64")
    return _without_version(part.as_bytes())


def _message_head(name: str, encoding: str) -> bytes:
    part = EmailMessage(policy=SMTP)
    part["Content-Transfer-Encoding"] = encoding
    part.add_header("Content-Disposition", "attachment", filename=name)
    # Not by the email package, which wants to write the message within, too.
    return b"Content-Type: message/rfc822\r\n" + part.as_bytes().rstrip(b"\r\n") + b"\r\n\r\n"


def _without_version(part: bytes) -> bytes:
    return part.replace(b"MIME-Version: 1.0\r\n", b"", 1)


def _multipart(parts: Sequence[bytes]) -> bytes:
    """Put parts together as they are; the email package would write them anew."""
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    number = 0
    while any(f"--{digest[:24]}.{number}".encode() in part for part in parts):
        number += 1  # a mail cannot foresee its own digest; this is for certainty
    boundary = f"{digest[:24]}.{number}"
    lines = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()
    return head + lines + f"--{boundary}--\r\n".encode()
