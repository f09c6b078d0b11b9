"""Forwarding: to whom, and the message that is sent. How it is sent is not known here.

A forwarded mail goes along as it is, byte by byte (``attachment``), or as its text and its attachments (``inline``).
What is sent says that it was sent by a machine, and has a mark (``marks``) made from the mail's key, in its Message-ID
too: so the same forward, repeated after a crash, can be recognised, and loops come to an end, those of bounces too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses
from typing import Any

from airflow_imap_provider.errors import ImapError, SettingsError
from airflow_imap_provider.mail.message import Attachment, Mail
from airflow_imap_provider.mail.templates import templated
from airflow_imap_provider.mail.transfer import decode_transfer
from airflow_imap_provider.mailbox.choice import parse_size
from airflow_imap_provider.mailbox.contents import Contents, opened_contents
from airflow_imap_provider.mailbox.download import part_content
from airflow_imap_provider.mailbox.marks import FOREIGN, HOPS_HEADER, Head, Marks
from airflow_imap_provider.mailbox.names import safe_name, typed_name
from airflow_imap_provider.transport.session import Session

__all__ = ["Envelope", "Forwarding", "Parcel", "compose", "fetch_parcel", "fingerprint"]

log = logging.getLogger(__name__)

STYLES = ("attachment", "inline")
PEOPLE = ("to", "cc", "bcc", "reply_to")
FROM_THE_MAIL = ("mail:from", "mail:reply_to", "mail:to", "mail:cc")

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
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Forwarding:
    """To whom a mail is forwarded, and how.

    ``to``, ``cc`` and ``bcc`` take a text or several: an address (``Ann <ann@example.com>``), a file with one address
    a line (``file:///etc/recipients``, or any other URL of Airflow's object storage), or ``mail:from``,
    ``mail:reply_to``, ``mail:to`` or ``mail:cc`` for those of the mail.

    :param reply_to: whom an answer goes to, likewise; none: the sender. Here ``mail:reply_to`` is, as for any answer to
        the mail, its From if it has no Reply-To.
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
    reply_to: tuple[str, ...] = ()
    smtp_conn_id: str = "smtp_default"
    sender: str = ""
    subject_prefix: str = "Fwd: "
    style: str = "attachment"
    separate: bool = True
    max_size: str | int = LARGEST

    def __post_init__(self) -> None:
        for name in PEOPLE:
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
        known = [each.name for each in fields(cls)]
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name not in known:
                raise SettingsError(
                    f"{name!r} is no option of forwarding; there are {', '.join(known)}.", stage="settings"
                )
            if name in PEOPLE:
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

    :param sender: the bare address to which bounces go; empty if there is none.
    :param recipients: bare addresses, those of Bcc too.
    :param content: the message.
    :param eight_bit: whether it has bytes beyond ASCII.
    """

    sender: str
    recipients: tuple[str, ...]
    message_id: str
    content: bytes
    eight_bit: bool


@dataclass(frozen=True)
class Parcel:
    """A mail that is to be forwarded.

    :param key: its identity.
    :param parts: of the message that forwards it.
    :param depth: how often it was forwarded by this installation.
    :param foreign: marks of other installations.
    :param bounce: whether it is a report about another mail.
    """

    key: str
    mail: Mail
    parts: tuple[bytes, ...] = field(repr=False)
    depth: int
    foreign: tuple[str, ...]
    bounce: bool


def fetch_parcel(
    session: Session, key: str, mail: Mail, forwarding: Forwarding, marks: Marks, *, eight_bit: bool
) -> Parcel | None:
    """Return a mail as it is to be forwarded; ``None`` for an automatic answer to a forward of our own.

    Such answers, bounces above all, would go on for ever: each is a new mail. Its folder must be open in the session.

    :param eight_bit: whether the SMTP server takes bytes beyond ASCII (8BITMIME).
    :raises ImapError: it is too large, was forwarded too often, or is gone.
    """
    limit = parse_size(forwarding.max_size, "max_size")
    if limit is not None and mail.size > limit:
        raise ImapError(
            f"mail {mail.uid} of {mail.folder} has {mail.size} bytes, and max_size={forwarding.max_size!r}.",
            stage="forward",
            remedy="Raise max_size if the SMTP server takes more, or save the mail instead.",
        )
    # Marks are looked for in all that goes along: a bounce has them in the mail that it brings back.
    if forwarding.style == "inline":
        raw = part_content(session, mail.uid, "HEADER", "7bit")
        parts, text = _inline(session, mail)
        depth = max(map(marks.depth, (raw, text.encode("utf-8", "replace"), *parts)))
    else:
        raw = part_content(session, mail.uid, "", "7bit", octets=mail.size)
        parts = _attached(raw, mail, eight_bit=eight_bit)
        depth = marks.depth(raw)
    head = Head(raw)
    if depth and head.is_answer:
        log.warning("Mail %s is an automatic answer to what was forwarded from here, and not forwarded", key)
        return None
    if depth >= MOST_HOPS:
        raise ImapError(
            f"mail {mail.uid} of {mail.folder} was forwarded {depth} times already: this is a loop.",
            stage="forward",
            remedy="Do not forward to an address whose mail arrives in this folder, or leave out what has "
            f"the header {HOPS_HEADER} by a condition.",
        )
    return Parcel(key, mail, tuple(parts), depth, tuple(marks.foreign(head)), head.is_bounce)


def compose(
    parcels: Sequence[Parcel],
    forwarding: Forwarding,
    *,
    sender: str,
    files: Mapping[str, Sequence[str]],
    marks: Marks,
    eight_bit: bool,
) -> Envelope:
    """Build the message that forwards mails.

    :param sender: the From address.
    :param files: for each recipient that is a URL, the lines of the file.
    :param eight_bit: as above.
    :raises ImapError: nobody is left to send it to, or it is too large.
    """
    first = parcels[0].mail
    listed = [parcel.mail for parcel in parcels]
    people = {name: _people(getattr(forwarding, name), name, listed, files) for name in PEOPLE}
    recipients = tuple(dict.fromkeys(each.addr_spec for name in ("to", "cc", "bcc") for each in people[name]))
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
    if people["reply_to"]:
        head["Reply-To"] = people["reply_to"]
    more = f" (and {len(parcels) - 1} more)" if len(parcels) > 1 else ""
    head["Subject"] = f"{forwarding.subject_prefix}{first.subject}{more}"
    head["Date"] = formatdate(localtime=False)
    identity = json.dumps([sorted(parcel.key for parcel in parcels), forwarding.to_json()], sort_keys=True)
    mark = marks.make(identity, max(parcel.depth for parcel in parcels) + 1)
    message_id = f"<{mark}.forward@{author.domain}>"
    head["Message-ID"] = message_id
    if len(parcels) == 1 and re.fullmatch(r"<[!-;=?-~]{1,900}>", first.message_id):
        head["References"] = first.message_id
    head["Auto-Submitted"] = "auto-generated"  # RFC 3834: no autoresponder answers it
    foreign = dict.fromkeys(each for parcel in parcels for each in parcel.foreign)
    head[HOPS_HEADER] = " ".join([mark, *list(foreign)[:FOREIGN]])
    head["MIME-Version"] = "1.0"
    parts = [part for parcel in parcels for part in parcel.parts]
    content = head.as_bytes().rstrip(b"\r\n") + b"\r\n" + _multipart(parts)
    limit = parse_size(forwarding.max_size, "max_size")
    if len(parcels) > 1 and limit is not None and sum(mail.size for mail in listed) > limit:
        raise ImapError(
            f"together the {len(parcels)} mails are larger than max_size={forwarding.max_size!r}.",
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
    # A report has no sender whom a report about it could reach, wherever it is forwarded to (RFC 5321, section 4.5.5).
    reachable = not any(parcel.bounce for parcel in parcels)
    return Envelope(author.addr_spec if reachable else "", recipients, message_id, content, needs)


def _people(
    items: Sequence[str], name: str, mails: Sequence[Mail], files: Mapping[str, Sequence[str]]
) -> tuple[HeaderAddress, ...]:
    found: list[HeaderAddress] = []
    for item in items:
        if item.startswith("mail:"):
            people = item.partition(":")[2]
            # What a sender wrote there need not be an address: those that are none are left out.
            people = "from_" if people == "from" else people
            found_in = [getattr(mail, people) for mail in mails]
            if (name, people) == ("reply_to", "reply_to"):
                found_in = [mail.reply_to or mail.from_ for mail in mails]
            texts = [each.address for addresses in found_in for each in addresses]
            found += [_parsed(text, name) for text in texts if _ADDRESS.fullmatch(text) and text.isascii()]
        elif "://" in item:
            lines = (line.partition("#")[0].strip() for line in files[item])
            found += [_parsed(line, item) for line in lines if line]
        else:
            found.append(_parsed(item, name))
    return tuple({each.addr_spec.casefold(): each for each in found}.values())


def fingerprint(key: str, forwarding: Forwarding) -> str:
    """Return what tells this forward of a mail from any other, in 64 hexadecimal digits.

    :param key: of the mail.
    """
    text = json.dumps([key, forwarding.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _attached(raw: bytes, mail: Mail, *, eight_bit: bool) -> list[bytes]:
    """Return the whole mail as one part."""
    raw = _LINE_END.sub(b"\r\n", raw)
    name = f"{safe_name(mail.subject, 'message')}.eml"
    plain = b"\0" not in raw and all(len(line) <= LONGEST_LINE for line in raw.split(b"\r\n"))
    if plain and (eight_bit or raw.isascii()):
        head = _message_head(name, "7bit" if raw.isascii() else "8bit")
        return [head + raw]
    # message/rfc822 may not be encoded (RFC 2046, section 5.2.1), and as it is no SMTP server would carry it.
    return [_encoded(raw, "application/octet-stream", name)]


def _inline(session: Session, mail: Mail) -> tuple[list[bytes], str]:
    """Return a text that shows the mail's, then its attachments as they are; and the mail's text."""
    with opened_contents(mail, lambda: session) as contents:
        mail = contents.with_text()
        shown = EmailMessage(policy=SMTP)
        lines = [
            "---------- Forwarded message ----------",
            f"From: {', '.join(map(str, mail.from_))}",
            f"Date: {mail.date or mail.received}",
            f"Subject: {mail.subject}",
            f"To: {', '.join(map(str, mail.to))}",
            "",
            mail.text or "",
        ]
        shown.set_content("\n".join(lines), charset="utf-8", cte="base64")
        # What is in an attached mail goes along with that.
        within = tuple(f"{each.part}." for each in mail.attachments if each.content_type.startswith("message/"))
        files = [each for each in mail.attachments if not each.part.startswith(within)]
        parts = [_without_version(shown.as_bytes()), *(_as_part(session, contents, each) for each in files)]
        return parts, mail.text or ""


def _as_part(session: Session, contents: Contents, attachment: Attachment) -> bytes:
    """Return an attachment as it is in its mail; encoded anew if the server does not give it so."""
    source, pieces = contents.transferred(attachment)
    with closing(pieces):
        body = b"".join(pieces)
    mime = b""
    if not source.counted:
        mime = part_content(session, contents.mail.uid, f"{source.part}.MIME", "7bit").strip(b"\r\n")
    if mime:
        return _LINE_END.sub(b"\r\n", mime + b"\r\n\r\n" + body)
    # What is composed of parts may not be encoded (RFC 2045, section 6.4).
    composed = source.content_type.startswith(("multipart/", "message/")) or not _TYPE.fullmatch(source.content_type)
    content_type = "application/octet-stream" if composed else source.content_type
    name = safe_name(source.name, typed_name(f"attachment-{source.part}", source.content_type))
    return _encoded(decode_transfer(body, source.encoding), content_type, name)


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
